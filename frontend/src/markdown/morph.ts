/** Nodes made equal to others with as few writes as can be. */

/**
 * Makes the children of a parent from an index on, up to a count of them, equal to
 * nodes. A child that is the same kind of node stays and is changed; what is equal
 * is not touched.
 */
export function morph(parent: Node, from: number, count: number, nodes: readonly Node[]): void {
  let at: ChildNode | null = parent.childNodes[from] ?? null;
  for (let i = 0; i < nodes.length; i++) {
    const node = nodes[i] as Node;
    const next: ChildNode | null = at === null ? null : at.nextSibling;
    if (at === null || i >= count) parent.insertBefore(node, at);
    else {
      if (!adapt(at, node)) parent.replaceChild(node, at);
      at = next;
    }
  }
  for (let i = nodes.length; i < count && at !== null; i++) {
    const next: ChildNode | null = at.nextSibling;
    parent.removeChild(at);
    at = next;
  }
}

/** Makes a node equal to another of its kind. It reports false if they are of two kinds. */
function adapt(old: Node, now: Node): boolean {
  if (old.nodeName !== now.nodeName) return false;
  if (old instanceof Text) {
    write(old, now as Text);
    return true;
  }
  if (!(old instanceof Element) || !(now instanceof Element)) return false;
  const same = old.className === now.className;
  for (const { name } of [...old.attributes]) {
    if (!now.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of now.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  // Code that is highlighted already stays so.
  if (same && old.tagName === 'CODE' && old.textContent === now.textContent) return true;
  morph(old, 0, old.childNodes.length, [...now.childNodes]);
  return true;
}

function write(old: Text, now: Text): void {
  if (old.data === now.data) return;
  if (now.data.startsWith(old.data)) old.appendData(now.data.slice(old.data.length));
  else old.data = now.data;
}
