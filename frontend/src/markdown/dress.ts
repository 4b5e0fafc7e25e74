/** What the page adds to an answer's elements: frames, labels, and a button on each piece of code. */

import { labelOf } from './highlight.ts';

const INLINE = new Set(['A', 'ABBR', 'B', 'BR', 'CODE', 'DEL', 'EM', 'I', 'INS', 'KBD', 'MARK', 'S', 'SAMP', 'SMALL', 'STRONG', 'SUB', 'SUP', 'U', 'VAR']);

/** The elements of a block, dressed. Text and inline elements that stand free in it get a paragraph. */
export function dress(fragment: DocumentFragment): Element[] {
  for (const table of fragment.querySelectorAll('table')) frameTable(table);
  for (const code of fragment.querySelectorAll('pre > code')) {
    if (code.parentElement?.childNodes.length === 1) frameCode(code);
  }
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

/** A table may be wider than the page: it scrolls by itself, by keyboard too. */
function frameTable(table: Element): void {
  const frame = document.createElement('div');
  frame.className = 'table';
  frame.tabIndex = 0;
  frame.setAttribute('role', 'group');
  frame.setAttribute('aria-label', 'Table');
  table.replaceWith(frame);
  frame.append(table);
}

function frameCode(code: Element): void {
  const pre = code.parentElement as HTMLElement;
  const frame = document.createElement('div');
  frame.className = 'code';
  const head = document.createElement('div');
  head.className = 'code-head';
  const label = document.createElement('span');
  label.textContent = labelOf(code);
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'copy';
  button.setAttribute('aria-label', 'Copy code');
  button.textContent = 'Copy';
  head.append(label, button);
  pre.tabIndex = 0;
  pre.replaceWith(frame);
  frame.append(head, pre);
}
