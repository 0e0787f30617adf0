/* Edits Xkit-flavored JSON block by block, in place of the box that holds it.

   What is on the page is what there is: the box is written from the blocks after every change. A
   part that nobody touched is written exactly as it was read, so that looking changes nothing. */
(function () {
  "use strict";

  const clone = (id) => document.getElementById(id).content.firstElementChild.cloneNode(true);

  /** The parts of a block that are not those of a block inside of it. */
  const parts = (block, selector) =>
    [...block.querySelectorAll(selector)].filter((part) => part.closest(".xkit-block") === block);
  const part = (block, selector) => parts(block, selector)[0];
  const blocksOf = (list) => [...list.children].filter((child) => child.matches(".xkit-block"));

  /** Numbers as they were written, where a browser can: 1.0 is not 1, nor are large ones rounded. */
  const parse = (text) =>
    JSON.parse(text, (_key, value, context) =>
      typeof value === "number" && JSON.rawJSON && String(value) !== context.source
        ? JSON.rawJSON(context.source)
        : value);
  const isObject = (value) => value !== null && typeof value === "object" && !JSON.isRawJSON?.(value);

  const asText = (value) =>
    value === undefined || value === null ? "" : typeof value === "string" ? value : JSON.stringify(value);

  /** What was typed, as a value of the type; as it is where it can't be read: the check says so. */
  function asValue(text, type) {
    if (type === "string") return text;
    try {
      return parse(text);
    } catch {
      return text;
    }
  }

  // -- from a description to a block ----------------------------------------------------------------

  function makeBlock(key, description) {
    const block = clone("xkit-block");
    const given = isObject(description) && !Array.isArray(description) ? description : {};
    block.given = given;
    const select = part(block, "[data-is=type]");
    select.value = given.type || "string";
    if (!select.value) select.add(new Option(asText(given.type)), 0);  // no type that there is
    block.type = select.value = select.value || asText(given.type);
    for (const box of parts(block, "[data-is]")) fill(box, box.dataset.is === "key" ? key : given[box.dataset.is]);
    for (const entry of Array.isArray(given.enum) ? given.enum : []) addValue(block, entry);
    for (const [below, inside] of pairsOf(given.properties)) listOf(block, "properties").append(makeBlock(below, inside));
    if (given.items) addItems(listOf(block, "items"), given.items);
    show(block);
    return block;
  }

  function fill(box, value) {
    if (box.type === "checkbox") box.checked = typeof value === "boolean" ? value : "otherwise" in box.dataset;
    else if (box.dataset.is !== "type") box.value = asText(value);
    box.before = box.type === "checkbox" ? box.checked : box.value;
  }

  const listOf = (block, name) => part(block, `[data-list=${name}]`);

  /** Keys and descriptions, of an object or of the pairs that a form came back with. */
  const pairsOf = (given) =>
    Array.isArray(given) ? given.filter(Array.isArray) : isObject(given ?? null) ? Object.entries(given) : [];

  function addItems(list, description) {
    const block = makeBlock("", description);
    block.classList.add("xkit-of-list");
    part(block, "legend").textContent = list.previousElementSibling.textContent;
    list.append(block);
    return block;
  }

  function addValue(block, entry) {
    const row = clone("xkit-value");
    row.given = entry;
    const labelled = isObject(entry ?? null);
    row.querySelector("[data-of=value]").value = asText(labelled ? entry.value : entry);
    row.querySelector("[data-of=label]").value = asText(labelled ? entry.label : "");
    row.before = textsOf(row).join("\n");
    part(block, "[data-values]").append(row);
    return row;
  }

  const textsOf = (row) => [...row.querySelectorAll("input")].map((input) => input.value);

  /** Show what a block of its type has, and say what is set out of sight. */
  function show(block) {
    const type = part(block, "[data-is=type]").value;
    for (const of of parts(block, "[data-for]")) of.hidden = !of.dataset.for.split(" ").includes(type);
    const items = listOf(block, "items");
    items.nextElementSibling.hidden = items.children.length > 0;
    const key = part(block, "[data-is=key]").value;
    if (key) part(block, "legend").textContent = key;
    part(block, "[data-is=label]").placeholder = readable(key);
    const said = read(block);
    const set = [
      said.format,
      "maxLength" in said && `≤ ${asText(said.maxLength)}`,
      "minimum" in said && `≥ ${asText(said.minimum)}`,
      "maximum" in said && `≤ ${asText(said.maximum)}`,
      said.nullable === false && "≠ null",
      said.enum && said.enum.map((one) => asText(isObject(one) ? one.value : one)).join(" | "),
    ];
    part(block, "[data-summary]").textContent = set.filter(Boolean).join(" · ");
  }

  /** What customers see where there is no label, as the server makes it. */
  function readable(key) {
    const words = key.replace(/([a-z0-9])(?=[A-Z])|[_-]+/g, "$1 ").trim().split(/\s+/);
    const text = words.map((word) => (word === word.toUpperCase() ? word : word.toLowerCase())).join(" ");
    return text.charAt(0).toUpperCase() + text.slice(1);
  }

  // -- from a block to its description --------------------------------------------------------------

  function read(block) {
    const type = part(block, "[data-is=type]").value;
    const found = {};
    for (const box of parts(block, "[data-is]")) {
      const name = box.dataset.is;
      if (name === "key" || box.closest("[data-for][hidden]")) continue;
      const value = name === "type" ? type : valueOf(box, block, type);
      if (value !== undefined) found[name] = value;
    }
    readValues(block, type, found);
    readBelow(block, type, found);
    // In the order that it came in: order counts.
    const said = {};
    for (const name of [...Object.keys(block.given), ...Object.keys(found)]) {
      if (name in found) said[name] = found[name];
      else if (!isKnown(block, name)) said[name] = block.given[name];
    }
    return said;
  }

  const isKnown = (block, name) =>
    ["enum", "properties", "items"].includes(name) || part(block, `[data-is="${CSS.escape(name)}"]`) !== undefined;

  function valueOf(box, block, type) {
    const now = box.type === "checkbox" ? box.checked : box.value;
    const name = box.dataset.is;
    if (now === box.before && (type === block.type || !("value" in box.dataset))) {
      if (name in block.given || box.type !== "checkbox") return block.given[name];
    }
    if (box.type === "checkbox") return now === ("otherwise" in box.dataset) ? undefined : now;
    if (now === "") return undefined;
    if ("number" in box.dataset) return asValue(now, "number");
    return "value" in box.dataset ? asValue(now, type) : now;
  }

  function readValues(block, type, found) {
    const list = part(block, "[data-values]");
    if (list.closest("[data-for][hidden]")) return;
    const values = [...list.children].map((row) => {
      const [value, label] = textsOf(row);
      if (row.before === `${value}\n${label}` && type === block.type && row.given !== undefined) return row.given;
      return label ? { value: asValue(value, type), label } : asValue(value, type);
    });
    if (values.length || (Array.isArray(block.given.enum) && !block.given.enum.length)) found.enum = values;
  }

  function readBelow(block, type, found) {
    if (type === "object") {
      const pairs = readList(listOf(block, "properties"));
      if (pairs.length || (block.given.properties && !pairsOf(block.given.properties).length)) found.properties = pairs;
    }
    if (type === "array") {
      const [only] = blocksOf(listOf(block, "items"));
      if (only) found.items = read(only);
      else if ("items" in block.given && !block.given.items) found.items = block.given.items;
    }
  }

  const readList = (list) => blocksOf(list).map((block) => [part(block, "[data-is=key]").value.trim(), read(block)]);

  // -- the editor -----------------------------------------------------------------------------------

  /** Put an editor in the place of a box; where what it holds can't be read the box stays, and the
      way to the blocks. */
  function build(schema) {
    const text = schema.querySelector("textarea");
    const given = schemaIn(text.value);
    if (!given) return offer(schema);
    const editor = clone("xkit-editor");
    const label = document.querySelector(`label[for="${CSS.escape(text.id)}"]`);
    if (label) editor.setAttribute("aria-label", label.textContent.replace(/:\s*$/, ""));
    const top = editor.querySelector("[data-list=top]");
    for (const [key, description] of pairsOf(given)) top.append(makeBlock(key, description));
    backIn(schema)?.remove();
    text.hidden = true;
    schema.append(editor);
    mark(schema);
  }

  /** The object or the pairs that a text holds; undefined where it holds neither. */
  function schemaIn(text) {
    try {
      const given = parse(text || "{}");
      if (Array.isArray(given) ? given.every(Array.isArray) : isObject(given)) return given;
    } catch {
      // Whoever types it has not finished.
    }
  }

  const backIn = (schema) => schema.querySelector("[data-do=blocks]")?.parentElement;

  /** Put a button below the box that leads to the blocks. */
  function offer(schema) {
    if (!backIn(schema)) schema.querySelector("textarea").after(clone("xkit-editor-back"));
  }

  function toBlocks(schema) {
    build(schema);
    const said = backIn(schema)?.querySelector("[data-said]");
    if (said) said.textContent = said.dataset.said;
  }

  function write(schema) {
    const text = schema.querySelector("textarea");
    text.value = JSON.stringify(readList(schema.querySelector("[data-list=top]")));
    text.dispatchEvent(new Event("input", { bubbles: true }));
  }

  function toText(schema) {
    const text = schema.querySelector("textarea");
    // People write objects, not pairs.
    text.value = JSON.stringify(asObject(readList(schema.querySelector("[data-list=top]"))), null, 2);
    schema.querySelector(".xkit-editor").remove();
    text.hidden = false;
    offer(schema);
    text.focus();
  }

  const asObject = (pairs) => Object.fromEntries(pairs.map(([key, description]) => [key, withObjects(description)]));

  function withObjects(description) {
    const said = { ...description };
    if (Array.isArray(said.properties)) said.properties = asObject(said.properties);
    if (isObject(said.items ?? null)) said.items = withObjects(said.items);
    return said;
  }

  const actions = {
    add(button, schema) {
      const list = button.parentElement.querySelector(":scope > [data-list]") || schema.querySelector("[data-list=top]");
      const block = list.dataset.list === "items" ? addItems(list, {}) : makeBlock("", {});
      if (list.dataset.list !== "items") list.append(block);
      part(block, list.dataset.list === "items" ? "[data-is=type]" : "[data-is=key]").focus();
    },
    remove(button) {
      const block = button.closest(".xkit-block");
      const next = block.nextElementSibling || block.previousElementSibling;
      const list = block.parentElement;
      block.remove();
      (next ? part(next, "[data-do=remove]") : list.parentElement.querySelector("[data-do=add]"))?.focus();
    },
    up(button) {
      const block = button.closest(".xkit-block");
      block.previousElementSibling?.before(block);
      button.focus();
    },
    down(button) {
      const block = button.closest(".xkit-block");
      block.nextElementSibling?.after(block);
      button.focus();
    },
    "add-value"(button) {
      addValue(button.closest(".xkit-block"), undefined).querySelector("input").focus();
    },
    "remove-value"(button) {
      const row = button.closest("li");
      const next = row.nextElementSibling || row.previousElementSibling;
      const values = row.closest(".xkit-values");
      row.remove();
      (next ? next.querySelector("[data-do]") : values.querySelector("[data-do=add-value]")).focus();
    },
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-do]");
    const schema = button?.closest(".xkit-schema");
    if (!schema) return;
    if (button.dataset.do === "text") return toText(schema);
    if (button.dataset.do === "blocks") return toBlocks(schema);
    const around = button.parentElement.closest(".xkit-block")?.parentElement.closest(".xkit-block");
    actions[button.dataset.do](button, schema);
    for (const block of [button.closest(".xkit-block"), around]) if (block?.isConnected) show(block);
    write(schema);
  });

  document.addEventListener("input", (event) => {
    const schema = event.target.closest(".xkit-editor")?.closest(".xkit-schema");
    if (!schema) return;
    // The blocks around say what is inside of them, too.
    for (let block = event.target.closest(".xkit-block"); block; block = block.parentElement.closest(".xkit-block")) show(block);
    write(schema);
  });

  // -- mistakes -------------------------------------------------------------------------------------

  /** Mark the boxes that a list of mistakes beside the editor names by their paths. */
  function mark(schema) {
    const card = schema.closest(".xkit-definition");
    const top = schema.querySelector("[data-list=top]");
    if (!card || !top) return;
    for (const box of schema.querySelectorAll("[aria-invalid]")) box.removeAttribute("aria-invalid");
    const paths = [...card.querySelectorAll("[data-problem]")].map((problem) => problem.dataset.problem);
    for (const path of paths) boxAt(top, path.split(/[.[\]]+/).slice(1))?.setAttribute("aria-invalid", "true");
  }

  function boxAt(list, [key, ...rest]) {
    const block = blocksOf(list).find((one) => part(one, "[data-is=key]").value === key);
    return block && boxIn(block, rest);
  }

  function boxIn(block, [name, ...rest]) {
    if (name === "properties") return boxAt(listOf(block, "properties"), rest);
    if (name === "items" && listOf(block, "items").children.length) return boxIn(listOf(block, "items").firstElementChild, rest);
    if (name === "enum") return part(block, "[data-values]").children[Number(rest[0])]?.querySelector("input");
    return part(block, name ? `[data-is="${CSS.escape(name)}"]` : "[data-is=key]") || part(block, "[data-is=key]");
  }

  // -- when to begin --------------------------------------------------------------------------------

  /** Build what can be seen: an object may have many events, each with many keys. */
  function begin(root) {
    for (const schema of root.querySelectorAll(".xkit-schema")) {
      const isShut = schema.closest("details:not([open])");
      if (!isShut && !schema.querySelector(".xkit-editor, [data-do=blocks]")) build(schema);
    }
  }

  document.addEventListener("toggle", (event) => event.target.open && begin(event.target), true);
  document.addEventListener("xkit:added", (event) => begin(event.target));
  document.addEventListener("htmx:afterSettle", (event) => {
    for (const schema of event.target.closest(".xkit-definition")?.querySelectorAll(".xkit-schema") || []) mark(schema);
  });
  document.addEventListener("DOMContentLoaded", () => begin(document));
})();
