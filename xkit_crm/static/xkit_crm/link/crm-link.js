/* linkCRM(domain, token, options): open CRM Link over this page.
 *
 * Gives a promise of the connection's id. It rejects with an Error that has a `code`: "closed" where
 * the person gave up, otherwise what went wrong, with `errors` ([{path, error}]) where there are
 * several. Options: connectionID, objects, preselectCRMSlug.
 *
 * `domain` is where CRM Link is served: "app.example.com" or "app.example.com/crm-link". Without a
 * path it is the one that this script came from, or else /crm-link/.
 */
(function () {
  "use strict";

  // Each button of a page brings the script along; once is enough.
  if (globalThis.linkCRM) return;

  const here = document.currentScript ? document.currentScript.src : "";
  /** Milliseconds after the frame has loaded in which its first page has to say so. */
  const PATIENCE = 3000;
  const OPTIONS = ["connectionID", "objects", "preselectCRMSlug"];
  let opened = null;

  function fail(code, message, errors) {
    return Object.assign(new Error(message), { name: "CRMLinkError", code, errors: errors || [] });
  }

  function baseOf(domain) {
    const given = /^https?:\/\//.test(domain) ? domain : `${schemeOf(domain)}//${domain}`;
    const url = new URL(given);
    if (url.host.includes("%")) throw new TypeError(`${url.host} is no host.`);
    if (url.pathname === "/") {
      const own = linkCRM.src || here;
      const mounted = own && new URL(own).host === url.host ? new URL(".", own).pathname : "/crm-link/";
      url.pathname = mounted;
    }
    if (!url.pathname.endsWith("/")) url.pathname += "/";
    return url;
  }

  function schemeOf(domain) {
    const host = domain.split("/")[0];
    const local = /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/.test(host);
    return local || host === location.host ? location.protocol.replace("file:", "http:") : "https:";
  }

  function frame() {
    const dialog = document.createElement("dialog");
    const inner = document.createElement("iframe");
    inner.title = "CRM Link";
    inner.name = `crm-link-${Math.random().toString(36).slice(2)}`;
    inner.setAttribute("allow", "clipboard-write");
    const phone = matchMedia("(max-width: 640px)").matches;
    Object.assign(dialog.style, {
      border: "0", padding: "0", overflow: "hidden", background: "transparent",
      width: phone ? "100vw" : "min(52rem, 96vw)", height: phone ? "100dvh" : "min(46rem, 94dvh)",
      maxWidth: "100vw", maxHeight: "100dvh", borderRadius: phone ? "0" : "14px",
      boxShadow: "0 24px 70px rgba(0, 0, 0, .35)", margin: "auto", colorScheme: "normal",
    });
    Object.assign(inner.style, { border: "0", width: "100%", height: "100%", display: "block" });
    dialog.append(inner);
    return { dialog, inner };
  }

  function post(base, inner, fields) {
    const form = document.createElement("form");
    form.method = "post";
    form.action = new URL("start", base).href;
    form.target = inner.name;
    form.hidden = true;
    for (const [name, value] of Object.entries(fields)) {
      if (value === undefined || value === null) continue;
      const field = document.createElement("input");
      Object.assign(field, { type: "hidden", name, value });
      form.append(field);
    }
    document.body.append(form);
    form.submit();
    form.remove();
  }

  function linkCRM(domain, token, options) {
    const asked = options || {};
    if (!token) {
      return Promise.reject(fail("link_token_invalid", "linkCRM() needs a token: make one in your backend."));
    }
    if (typeof domain !== "string" || !domain) {
      return Promise.reject(fail("malformed", "linkCRM() needs the domain that serves CRM Link."));
    }
    const unknown = Object.keys(asked).filter((name) => !OPTIONS.includes(name));
    if (unknown.length) {
      const errors = unknown.map((path) => ({ path, error: `unknown; known are ${OPTIONS.join(", ")}` }));
      return Promise.reject(fail("malformed", `linkCRM() has no option ${unknown.join(", ")}.`, errors));
    }
    let base;
    try {
      base = baseOf(domain);
    } catch (error) {
      return Promise.reject(fail("malformed", `${domain} is no domain.`));
    }
    if (opened) opened(fail("closed", "CRM Link was opened again."));
    return new Promise((resolve, reject) => {
      const before = document.activeElement;
      const { dialog, inner } = frame();
      let greeted = false;

      function end(settle, value) {
        removeEventListener("message", hear);
        opened = null;
        dialog.close();
        dialog.remove();
        if (before && before.focus) before.focus();
        settle(value);
      }

      function hear(event) {
        if (event.source !== inner.contentWindow || event.origin !== base.origin) return;
        const said = event.data;
        if (!said || said.from !== "crm-link") return;
        greeted = true;
        if (said.type === "done") end(resolve, said.connectionID);
        if (said.type === "closed") end(reject, fail("closed", "The person closed CRM Link."));
        if (said.type === "error") end(reject, fail(said.code, said.message, said.errors));
      }

      opened = (error) => end(reject, error);
      addEventListener("message", hear);
      dialog.addEventListener("cancel", (event) => {
        event.preventDefault();
        end(reject, fail("closed", "The person closed CRM Link."));
      });
      inner.addEventListener("load", () => {
        setTimeout(() => {
          if (!greeted && opened) {
            end(reject, fail("unreachable",
              `CRM Link did not open at ${base.href}. Is it served there, and is ${location.origin} in LINK_ORIGINS?`));
          }
        }, PATIENCE);
      });
      document.body.append(dialog);
      dialog.showModal();
      inner.focus();
      post(base, inner, {
        token,
        origin: location.origin,
        connectionID: asked.connectionID,
        objects: asked.objects && JSON.stringify(asked.objects),
        preselectCRMSlug: asked.preselectCRMSlug,
      });
    });
  }

  /* The template tag's button: it says how it went in an event, and goes on to its next page. */
  document.addEventListener("click", (event) => {
    const button = event.target.closest && event.target.closest("[data-crm-link]");
    if (!button) return;
    const { crmLink: base, token, connection, crm, next } = button.dataset;
    linkCRM(new URL(base, location.href).href, token, {
      connectionID: connection || undefined,
      preselectCRMSlug: crm || undefined,
    }).then(
      (connectionID) => {
        button.dispatchEvent(new CustomEvent("crm-link:done", { bubbles: true, detail: { connectionID } }));
        if (next) location.assign(next);
      },
      (error) => {
        button.dispatchEvent(new CustomEvent("crm-link:failed", { bubbles: true, detail: { error } }));
        const told = document.getElementById(button.getAttribute("aria-describedby"));
        if (told && error.code !== "closed") told.textContent = button.dataset.failed;
      },
    );
  });

  globalThis.linkCRM = linkCRM;
})();
