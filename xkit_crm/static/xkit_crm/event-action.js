/* Shows the boxes that the chosen action and each transformation's kind have a use for, and offers
   what is known of the customer's CRM. The server says both; what is out of sight stays as it is. */
(function () {
  "use strict";

  const FORM = ["workflow", "transformations", "ignored"];
  const WRITTEN = ["mode", "operator"];

  /** The name of a box of a transformation; the value map's has none. */
  const nameOf = (part) => part.querySelector(":scope [name]")?.name.split("§")[2] || "values";

  function show({ actions, kinds, options }, action) {
    const uses = actions[action.value] || FORM;
    for (const name of FORM) {
      const row = document.querySelector(`.field-${name}`);
      if (row) row.hidden = !uses.includes(name);
    }
    offer(document.getElementById("id_workflow"), "workflow", options);
    for (const kind of document.querySelectorAll('select[name^="rjf§"][name$="§kind"]')) {
      const needs = ["field", "kind", ...(kinds[kind.value] || []), ...uses.filter((name) => WRITTEN.includes(name))];
      for (const part of kind.closest(".rjf-form-group-children").children) {
        const name = nameOf(part);
        part.hidden = !needs.includes(name);
        offer(part.querySelector("input[type=text]"), name, options);
      }
    }
  }

  function offer(box, name, options) {
    if (box && name in options) box.setAttribute("list", `xkit-options-${name}`);
  }

  document.addEventListener("DOMContentLoaded", () => {
    const action = document.getElementById("id_action");
    if (!action) return; // whoever may only look
    const choices = JSON.parse(document.getElementById("xkit-action-choices").textContent);
    const again = () => show(choices, action);
    document.addEventListener("change", again);
    new MutationObserver(again).observe(document.querySelector(".field-transformations"), { childList: true, subtree: true });
    again();
  });
})();
