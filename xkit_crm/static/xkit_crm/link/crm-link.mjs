/* The same as a module: import { linkCRM } from "https://app.example.com/crm-link/crm-link.mjs" */
import "./crm-link.js";

const linkCRM = globalThis.linkCRM;
linkCRM.src = import.meta.url;

export { linkCRM };
export default linkCRM;
