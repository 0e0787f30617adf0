/* What the pages of CRM Link do besides htmx: talk to the page around, and pick fields. */
(function () {
  "use strict";

  htmx.config.includeIndicatorStyles = false;
  htmx.config.allowEval = false;
  htmx.config.historyCacheSize = 0;
  htmx.config.refreshOnHistoryMiss = true;
  htmx.config.scrollIntoViewOnBoost = false;
  // What is shown listens at once, not 20 ms later.
  htmx.config.defaultSettleDelay = 0;

  // -- the page around --------------------------------------------------------------------------

  function say(message) {
    const origin = document.body.dataset.origin;
    if (parent !== window && origin) parent.postMessage({ from: "crm-link", ...message }, origin);
  }

  function greet() {
    const told = document.querySelector("[data-message]");
    say(told ? JSON.parse(told.dataset.message) : { type: "ready" });
    // A window that was opened for signing in: the page that waits goes on by itself.
    if (document.querySelector("[data-leave]")) setTimeout(() => window.close(), 1500);
  }

  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-close]")) say({ type: "closed" });
  });

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !event.defaultPrevented) say({ type: "closed" });
  });

  // A page that came without loading anew is announced by its heading.
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.target === document.body) {
      greet();
      scrollTo(0, 0);
      document.querySelector("h1")?.focus();
    }
  });

  document.addEventListener("htmx:sendError", () => document.body.classList.add("offline"));
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.successful) document.body.classList.remove("offline");
  });
  // Errors are pages too: show what the server says.
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.xhr.status >= 400) {
      event.detail.shouldSwap = true;
      event.detail.target = document.body;
    }
  });

  // -- pickers: a combobox after the ARIA pattern ----------------------------------------------------

  const options = (box) => [...box.querySelectorAll("[role=option]:not([aria-disabled])")];

  function close(box) {
    const field = box.querySelector("[role=combobox]");
    field.setAttribute("aria-expanded", "false");
    field.removeAttribute("aria-activedescendant");
    field.value = field.dataset.label || "";
    box.querySelector("[role=listbox]").replaceChildren();
  }

  function move(box, step) {
    const found = options(box);
    if (!found.length) return;
    const now = found.findIndex((option) => option.classList.contains("active"));
    const next = found[(now + step + found.length) % found.length];
    found[now]?.classList.remove("active");
    next.classList.add("active");
    next.scrollIntoView({ block: "nearest" });
    box.querySelector("[role=combobox]").setAttribute("aria-activedescendant", next.id);
  }

  function choose(box, option) {
    const field = box.querySelector("[role=combobox]");
    field.dataset.label = option.dataset.label;
    const hidden = box.querySelector("input[type=hidden]");
    hidden.value = option.dataset.value;
    close(box);
    hidden.dispatchEvent(new Event("change", { bubbles: true }));
  }

  document.addEventListener("focusin", (event) => {
    if (event.target.matches("[role=combobox]")) event.target.select();
  });

  document.addEventListener("focusout", (event) => {
    const box = event.target.closest(".picker");
    if (box && !box.contains(event.relatedTarget)) close(box);
  });

  // An option is taken when it is pressed: until it is let go, typing may have renewed the list.
  // Who can't press clicks.
  function take(event) {
    if (!event.target.closest("[role=listbox]")) return;
    event.preventDefault();
    const option = event.target.closest("[role=option]:not([aria-disabled=true])");
    if (option && event.button === 0) choose(option.closest(".picker"), option);
  }
  document.addEventListener("mousedown", take);
  document.addEventListener("click", take);

  document.addEventListener("keydown", (event) => {
    const box = event.target.closest?.(".picker");
    if (!box) return;
    const open = box.querySelector("[role=combobox]").getAttribute("aria-expanded") === "true";
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (open) move(box, event.key === "ArrowDown" ? 1 : -1);
      else htmx.trigger(event.target, "pick");
    } else if (event.key === "Enter") {
      event.preventDefault();
      const active = box.querySelector("[role=option].active") || options(box)[0];
      if (open && active) choose(box, active);
    } else if (event.key === "Escape" && (open || event.target.value !== (event.target.dataset.label || ""))) {
      event.preventDefault();
      close(box);
    }
  }, true);

  document.addEventListener("htmx:afterSwap", (event) => {
    const box = event.target.closest?.(".picker");
    if (box && event.target.matches("[role=listbox]")) {
      const field = box.querySelector("[role=combobox]");
      field.setAttribute("aria-expanded", String(document.activeElement === field));
      if (document.activeElement !== field) event.target.replaceChildren();
    }
  });

  // -- templates: a payload key is put where the cursor is --------------------------------------------

  document.addEventListener("click", (event) => {
    const chip = event.target.closest("[data-insert]");
    if (!chip) return;
    const field = document.getElementById(chip.dataset.for);
    const at = field.selectionStart ?? field.value.length;
    field.setRangeText(`{${chip.dataset.insert}}`, at, field.selectionEnd ?? at, "end");
    field.focus();
    field.dispatchEvent(new Event("change", { bubbles: true }));
  });

  // -- saving: every change is kept as a draft ------------------------------------------------------

  /** Whether a save is on its way, and whether something was changed since: it goes next. */
  let saving = false;
  let changed = null;
  let waiting = [];

  const TYPED = "textarea, input:not([type=hidden], [type=radio], [type=checkbox])";

  async function save(form, typed) {
    if (saving) {
      changed = { form, typed: typed && (changed ? changed.typed : true) };
      return;
    }
    saving = true;
    form.setAttribute("aria-busy", "true");
    // A choice changes what can be chosen next; typed text only what is still missing, here and at
    // each row, and the fields around it stay as they are, since somebody is typing in one of them.
    const state = typed && form.querySelector("#event-state");
    const part = state ? "#event-state" : `#${form.id}`;
    const messages = state ? [...form.querySelectorAll("[data-problems]")] : [];
    await htmx.ajax("POST", form.getAttribute("action"), {
      source: form, target: part, select: part, swap: "outerHTML",
      selectOOB: messages.map((one) => `#${one.id}`).join(),
    });
    saving = false;
    const next = changed;
    changed = null;
    const now = document.getElementById(form.id);
    if (next && now) return save(now, next.typed && typed);
    now?.removeAttribute("aria-busy");
    for (const go of waiting.splice(0)) go();
  }

  /** Whether an entry has a name and no field yet, or a field and no name: the other half comes. */
  function isHalf(entry) {
    const [name, field] = ["[name$=-name]", "[name$=-field]"].map((one) => entry.querySelector(one).value.trim());
    return Boolean(name) !== Boolean(field);
  }

  document.addEventListener("change", (event) => {
    const form = event.target.closest("form[data-autosave]");
    const entry = event.target.closest(".pair.new");
    if (entry && isHalf(entry)) return;
    if (form && !event.target.matches("[role=combobox]")) save(form, event.target.matches(TYPED));
  });

  // What was changed since it was sent must not be overwritten by the answer, unless it is that
  // somebody else has changed it. What is sent next is of what the answer shows.
  document.addEventListener("htmx:beforeSwap", (event) => {
    const form = event.detail.requestConfig.elt;
    const { xhr } = event.detail;
    if (!changed || !form.matches?.("form[data-autosave]")) return;
    if (xhr.getResponseHeader("HX-Retarget")) {
      changed = null;
      return;
    }
    event.detail.shouldSwap = false;
    const answer = new DOMParser().parseFromString(xhr.response, "text/html");
    const seen = answer.querySelector("[name=seen]");
    if (seen) form.elements.seen.value = seen.value;
  });

  // Nobody leaves before it is kept.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href], button:not([type=button])");
    if (link && saving) {
      event.preventDefault();
      event.stopImmediatePropagation();
      waiting.push(() => link.click());
    }
  }, true);

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-remove]");
    if (!button) return;
    const field = document.getElementById(`${button.dataset.remove}-field-value`);
    field.value = "";
    field.dispatchEvent(new Event("change", { bubbles: true }));
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-take-over]");
    if (!button) return;
    const field = document.getElementById("take-over");
    field.value = button.dataset.takeOver;
    field.dispatchEvent(new Event("change", { bubbles: true }));
  });

  // -- long lists are narrowed by typing -------------------------------------------------------------

  document.addEventListener("input", (event) => {
    const list = event.target.dataset?.filter;
    if (!list) return;
    const wanted = event.target.value.toLowerCase();
    let found = 0;
    for (const item of document.querySelectorAll(list)) {
      if (item.classList.contains("apart")) continue;
      item.hidden = !item.textContent.toLowerCase().includes(wanted);
      found += !item.hidden;
    }
    const none = document.getElementById(event.target.dataset.none);
    none.textContent = found ? "" : none.dataset.text;
  });

  greet();
})();
