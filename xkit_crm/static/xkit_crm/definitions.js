/* The page of a CRM object or an event: cards that are added, slugs that follow labels, previews. */
(function () {
  "use strict";

  if (window.htmx) {
    htmx.config.includeIndicatorStyles = false;
    htmx.config.allowEval = false;
  }

  // -- cards ----------------------------------------------------------------------------------------

  /** Put another form of a formset on the page, from the template that holds an empty one. */
  function addCard(button) {
    const section = button.closest("[data-formset]");
    const total = section.querySelector(`[name="${section.dataset.formset}-TOTAL_FORMS"]`);
    const empty = section.querySelector("template");
    const holder = document.createElement("template");
    holder.innerHTML = empty.innerHTML.replaceAll("__prefix__", total.value);
    const card = holder.content.querySelector(".xkit-definition");
    section.querySelector(".xkit-definitions").append(card);
    total.value = Number(total.value) + 1;
    window.htmx?.process(card);
    card.dispatchEvent(new CustomEvent("xkit:added", { bubbles: true }));
    card.querySelector("input:not([type=hidden])").focus();
  }

  function removeCard(button) {
    const section = button.closest("[data-formset]");
    button.closest(".xkit-definition").remove();
    section.querySelector("[data-add]").focus();
  }

  // -- labels and slugs -----------------------------------------------------------------------------

  const asSlug = (text) =>
    text.normalize("NFKD").replace(/[^\w\s-]/g, "").trim().toLowerCase().replace(/[\s-]+/g, "_").slice(0, 100);

  document.addEventListener("input", (event) => {
    const input = event.target;
    if (/(^|-)slug$/.test(input.name)) input.dataset.typed = "yes";
    if (/(^|-)label$/.test(input.name)) {
      const slug = input.form?.elements[input.name.replace(/label$/, "slug")];
      if (slug && !slug.readOnly && !slug.defaultValue && !slug.dataset.typed) slug.value = asSlug(input.value);
    }
    title(input.closest(".xkit-definition"));
  });

  function title(card) {
    const shown = card?.querySelector("[data-title]");
    const label = card?.querySelector("[name$=label]");
    if (shown && label?.value) shown.textContent = label.value;
  }

  // -- previews -------------------------------------------------------------------------------------

  /** What was open in a preview stays open when it is renewed, and what can't be renewed while
      there is a mistake stays, too. */
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.target.matches?.(".xkit-preview")) event.target.shown = [...event.target.querySelectorAll("details")];
  });

  document.addEventListener("htmx:afterSwap", (event) => {
    const panel = event.target;
    if (!panel.matches?.(".xkit-preview") || !panel.shown?.length) return;
    const parts = [...panel.querySelectorAll("details")];
    for (const part of parts) part.open = panel.shown.some((one) => one.open && one.dataset.part === part.dataset.part);
    if (parts.length) return;
    for (const part of panel.shown) part.classList.add("xkit-stale");
    panel.append(...panel.shown);
  });

  // -- clicks ---------------------------------------------------------------------------------------

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if ("add" in button.dataset) addCard(button);
    if ("removeCard" in button.dataset) removeCard(button);
    if ("copy" in button.dataset) {
      await navigator.clipboard.writeText(button.parentElement.querySelector("pre").textContent);
      button.textContent = button.dataset.copied;
    }
  });

  /** A card that an address names is open. */
  document.addEventListener("DOMContentLoaded", () => {
    const named = document.querySelector(".xkit-definition:target");
    if (named) named.open = true;
    // django-unfold's script takes every box for a file for its own, unless it was there before.
    for (const file of document.querySelectorAll(".xkit-page input[type=file]")) file.hasChangeListener = true;
  });
})();
