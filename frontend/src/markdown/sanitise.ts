/** HTML that anybody may have written to nodes that can do no harm. */

import createPurifier, { type Config, type DOMPurify } from 'dompurify';

const CONFIG = {
  // No element that loads, runs, submits or takes a name, and none that an answer could pass off as a part of the page.
  ALLOWED_TAGS: [
    'a', 'abbr', 'b', 'blockquote', 'br', 'code', 'del', 'em', 'h2', 'h3', 'h4', 'h5', 'h6', 'hr', 'i', 'ins', 'kbd', 'li', 'mark', 'ol', 'p',
    'pre', 's', 'samp', 'small', 'strong', 'sub', 'sup', 'table', 'tbody', 'td', 'th', 'thead', 'tr', 'u', 'ul', 'var', '#text',
  ],
  ALLOWED_ATTR: ['align', 'class', 'href', 'start', 'title'],
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

function getPurifier(): DOMPurify {
  if (purifier !== undefined) return purifier;
  purifier = createPurifier(window);
  purifier.addHook('uponSanitizeAttribute', (element, event) => {
    if (ATTRIBUTES[event.attrName]?.(element, event.attrValue) !== true) event.keepAttr = false;
  });
  purifier.addHook('uponSanitizeElement', (node, event) => {
    // An image is not loaded; what it says instead is kept.
    if (event.tagName === 'img') node.parentNode?.insertBefore(document.createTextNode((node as Element).getAttribute('alt') ?? ''), node);
  });
  return purifier;
}

/** The nodes of a block of HTML, each of them an element: all that is safe of it and nothing else. */
export function sanitise(html: string): Element[] {
  const fragment = getPurifier().sanitize(html, CONFIG);
  for (const link of fragment.querySelectorAll('a')) guard(link);
  return wrapped(fragment);
}

/** Directions that make a text read as what it is not. */
const OVERRIDES = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** Makes a link safe to follow, or no link: it goes to an absolute address elsewhere, without a name and password, and is what it says. */
function guard(link: HTMLAnchorElement): void {
  const url = absolute(link.getAttribute('href') ?? '');
  if (url === undefined) {
    link.replaceWith(...link.childNodes);
    return;
  }
  link.setAttribute('href', url.href);
  link.setAttribute('rel', 'noopener noreferrer nofollow');
  link.setAttribute('target', '_blank');
  const walker = document.createTreeWalker(link, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
    const text = node as Text;
    if (text.data.search(OVERRIDES) >= 0) text.data = text.data.replace(OVERRIDES, '');
  }
}

function absolute(href: string): URL | undefined {
  if (!URL.canParse(href)) return undefined;
  const url = new URL(href);
  const allowed = url.protocol === 'mailto:' || ((url.protocol === 'https:' || url.protocol === 'http:') && url.username === '' && url.password === '');
  return allowed ? url : undefined;
}

const INLINE = new Set(['A', 'ABBR', 'B', 'BR', 'CODE', 'DEL', 'EM', 'I', 'INS', 'KBD', 'MARK', 'S', 'SAMP', 'SMALL', 'STRONG', 'SUB', 'SUP', 'U', 'VAR']);

/** The elements of a fragment; text and inline elements that stand free in it get a paragraph. */
function wrapped(fragment: DocumentFragment): Element[] {
  const elements: Element[] = [];
  let paragraph: HTMLElement | undefined;
  for (const node of [...fragment.childNodes]) {
    if (node instanceof Element && !INLINE.has(node.tagName)) {
      elements.push(node);
      paragraph = undefined;
    } else if (paragraph !== undefined || node instanceof Element || (node.textContent ?? '').trim() !== '') {
      if (paragraph === undefined) elements.push((paragraph = document.createElement('p')));
      paragraph.append(node);
    }
  }
  return elements;
}
