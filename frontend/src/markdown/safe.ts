/** What must hold for all that is drawn of an answer, for tests. */

const ELEMENTS = new Set(
  ('A ABBR B BLOCKQUOTE BR BUTTON CODE DEL DIV EM H2 H3 H4 H5 H6 HR I INS KBD LI MARK OL P PRE S SAMP SMALL SPAN STRONG SUB SUP TABLE TBODY TD TH ' +
    'THEAD TR U UL VAR').split(' '),
);

const ATTRIBUTES: Record<string, RegExp> = {
  align: /^(?:left|center|right)$/,
  'aria-label': /^(?:Copy code|Table)$/,
  class: /^(?:code|code-head|copy|table|task|plain|language-\S+|hljs[\w -]*)$/,
  href: /^(?:https?:\/\/[^@/]*(?:\/|$)|mailto:)/,
  rel: /^noopener noreferrer nofollow$/,
  role: /^group$/,
  start: /^\d{1,9}$/,
  tabindex: /^0$/,
  target: /^_blank$/,
  title: /^/,
  type: /^button$/,
};

/** Everything about an element's content that is not on the list of what an answer may be; empty if it is safe. */
export function faults(root: Element): string[] {
  const found: string[] = [];
  for (const element of root.querySelectorAll('*')) {
    if (!ELEMENTS.has(element.tagName)) found.push(`<${element.tagName}>`);
    for (const { name, value } of element.attributes) {
      if (ATTRIBUTES[name]?.test(value) !== true) found.push(`<${element.tagName} ${name}=${value}>`);
    }
    if (element.tagName === 'BUTTON' && element.parentElement?.className !== 'code-head') found.push('a button of its own');
    if (/^(?:DIV|SPAN)$/.test(element.tagName) && element.attributes.length === 0 && element.parentElement?.className !== 'code-head') found.push(`a bare ${element.tagName}`);
    if (element.tagName === 'A' && (element.getAttribute('rel') === null || !element.hasAttribute('href'))) found.push('a link that is not guarded');
    if (element.tagName === 'A' && /[\u202a-\u202e\u2066-\u2069]/.test(element.outerHTML)) found.push('a link with a direction');
  }
  return found;
}
