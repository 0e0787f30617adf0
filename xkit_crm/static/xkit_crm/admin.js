// Names for boxes that are drawn by script and have none: Select2's and the JSON form's. Without
// them a screen reader says "text" and nothing else.
(() => {
  const name = (box, text) => {
    if (text && !box.hasAttribute("aria-label")) box.setAttribute("aria-label", text.trim());
  };

  const nameAll = () => {
    for (const shown of document.querySelectorAll(".select2-selection__rendered")) {
      const select = shown.closest(".select2-container")?.previousElementSibling;
      const text = select?.labels?.[0]?.textContent || select?.getAttribute("aria-label");
      name(shown, text);
      name(shown.closest(".select2-selection"), text);
    }
    const boxes = ".rjf-form-row :is(input, select, textarea)";
    for (const box of document.querySelectorAll(boxes)) {
      name(box, box.closest(".rjf-form-row").querySelector("label")?.textContent);
    }
  };

  let asked = false;
  const soon = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      nameAll();
    });
  };
  document.addEventListener("DOMContentLoaded", () => {
    soon();
    new MutationObserver(soon).observe(document.body, { childList: true, subtree: true });
  });
})();
