// The panel of a row's CRM records in the admin: what htmx doesn't do by itself. Without a script the
// panel works too, a page at a time.
(() => {
  "use strict";

  const panel = () => document.getElementById("crm-records");
  const isOurs = (event) => Boolean(event.detail.requestConfig?.elt.closest?.("#crm-records"));

  // The page may have an htmx of its own, loaded before or after this.
  document.addEventListener("DOMContentLoaded", () => {
    if (window.htmx || !panel()) return;
    const brought = document.getElementById("crm-records-htmx").content.cloneNode(true);
    const config = brought.querySelector("meta");
    const script = brought.querySelector("script");
    script.addEventListener("load", () => {
      // Loaded so late it may have missed the page's own beginning.
      Object.assign(htmx.config, JSON.parse(config.content));
      htmx.process(panel());
    });
    document.head.append(config, script);
  });

  // Who was logged out meanwhile is asked to log in; that page belongs in no panel.
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (!isOurs(event)) return;
    const { xhr } = event.detail;
    if (xhr.responseURL && !new URL(xhr.responseURL).pathname.includes("/crm-records/")) {
      event.detail.shouldSwap = false;
      location.reload();
    }
  });

  function fail(event) {
    if (!isOurs(event) || event.detail.requestConfig.elt.id === "crm-records-look") return;
    const note = document.getElementById("crm-records-note");
    note.textContent = panel().dataset.failed;
    note.className = "xkit-crm-note xkit-crm-bad";
    note.hidden = false;
    note.focus();
  }
  for (const name of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) {
    document.addEventListener(name, fail);
  }

  // What somebody has opened, or has the focus in, is not replaced by a look at how things stand.
  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    const { target } = event.detail;
    if (!target.closest("#crm-records")) return;
    if (target.querySelector("details[open]") || target.contains(document.activeElement)) {
      event.detail.shouldSwap = false;
    }
  });
})();
