/** HTML that anybody may have written to nodes that can do no harm. */

import createPurifier, { type Config, type DOMPurify } from 'dompurify';
import { guard } from './links.ts';

const CONFIG = {
  // No element that loads, runs, submits or takes a name, and none that an answer could pass off as a part of the page.
  ALLOWED_TAGS: [
    'a', 'abbr', 'b', 'blockquote', 'br', 'code', 'del', 'em', 'h2', 'h3', 'h4', 'h5', 'h6', 'hr', 'i', 'ins', 'kbd', 'li', 'mark', 'ol', 'p',
    'pre', 's', 'samp', 'small', 'strong', 'sub', 'sup', 'table', 'tbody', 'td', 'th', 'thead', 'tr', 'u', 'ul', 'var', '#text',
  ],
  ALLOWED_ATTR: ['align', 'class', 'href', 'start', 'title'],
  ADD_URI_SAFE_ATTR: ['align', 'start'], // of any other attribute the expression is asked
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  ALLOW_ARIA_ATTR: false,
  ALLOW_DATA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
} satisfies Config;

/** What an attribute may be, on which elements. What stands here not at all DOMPurify judges alone. */
const ATTRIBUTES: Record<string, (element: Element, value: string) => boolean> = {
  align: (element, value) => /^T[HD]$/.test(element.tagName) && /^(?:left|center|right)$/.test(value),
  class: (element, value) =>
    (element.tagName === 'CODE' && /^language-[^\s]{1,40}$/.test(value)) || (element.tagName === 'LI' && value === 'task'),
  href: (element) => element.tagName === 'A',
  start: (element, value) => element.tagName === 'OL' && /^\d{1,9}$/.test(value),
  title: (element) => /^(?:A|ABBR)$/.test(element.tagName),
};

let purifier: DOMPurify | undefined;

/** What DOMPurify leaves of a piece of HTML. There is one of it: the page's policy lets it have its trusted type once. */
function purify(html: string): DocumentFragment {
  purifier ??= make();
  if (isDeep(html)) {
    const fragment = document.createDocumentFragment();
    fragment.append(html);
    return fragment;
  }
  return purifier.sanitize(html) as unknown as DocumentFragment;
}

/** How deep elements may stand in one another. HTML with more is text: some of a parser's work is quadratic in it, and so is DOMPurify's. */
const DEPTH = 256;

/** Whether a piece of HTML opens more elements than it may without closing them. */
export function isDeep(html: string): boolean {
  let depth = 0;
  // What is closed by the next of its kind, or by nothing, is not counted.
  for (const [tag] of html.matchAll(/<\/?(?!(?:p|li|t[rdh]|d[td]|br|hr|img|input|wbr)[\s/>])[a-z]/gi)) {
    depth = Math.max(0, depth + (tag[1] === '/' ? -1 : 1));
    if (depth > DEPTH) return true;
  }
  return false;
}

/** A purifier with its configuration, which is read once and not with each call. */
function make(): DOMPurify {
  const made = createPurifier(window);
  made.setConfig(CONFIG);
  made.addHook('uponSanitizeAttribute', (element, event) => {
    if (ATTRIBUTES[event.attrName]?.(element, event.attrValue) !== true) event.keepAttr = false;
  });
  made.addHook('uponSanitizeElement', (node, event) => {
    // An image is not loaded; what it says instead is kept.
    if (event.tagName === 'img') node.parentNode?.insertBefore(document.createTextNode((node as Element).getAttribute('alt') ?? ''), node);
  });
  return made;
}

/** What is safe of a piece of HTML, as HTML again that closes what it opens. Its links are still to be guarded: sanitise what it goes into. */
export function clean(html: string): string {
  const holder = document.createElement('template');
  holder.content.append(purify(disarm(html)));
  return holder.innerHTML;
}

/** What is safe of a piece of HTML, and nothing else. */
export function sanitise(html: string): DocumentFragment {
  const fragment = purify(html);
  for (const link of fragment.querySelectorAll('a')) guard(link);
  return fragment;
}

/**
 * HTML without style elements and attributes, scripts, and a base. DOMPurify removes
 * them too, but only after a parser has seen them, and that reports them to the
 * page's policy. A name takes no character references: with one in it, it is
 * another, while a text with one reads as before.
 */
export function disarm(html: string): string {
  return html.replace(/(<\/?)(b)(?=ase(?![a-z]))/gi, (_, open: string, letter: string) => `${open}&#${letter.charCodeAt(0)};`).replace(/(<\/?)(?:style|script)/gi, '$1template').replace(/s(?=tyle)/g, '&#115;').replace(/S(?=tyle)/gi, '&#83;');
}
