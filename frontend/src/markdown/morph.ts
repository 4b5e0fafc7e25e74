/** Nodes made equal to others with as few writes as can be. */

/**
 * Makes count children of a parent, those after one of them or from the first on, equal
 * to nodes. A child that is the same kind of node stays and is changed; what is equal
 * is not touched. It returns the last of the nodes as it is in the document now, or after.
 */
export function morph(parent: Node, after: Node | null, count: number, nodes: readonly Node[]): Node | null {
  let last = after;
  for (let i = 0; i < nodes.length; i++) {
    const node = nodes[i] as Node;
    const at: Node | null = last === null ? parent.firstChild : last.nextSibling;
    if (at === null || i >= count) last = parent.insertBefore(node, at);
    else if (adapt(at, node)) last = at;
    else {
      parent.replaceChild(node, at);
      last = node;
    }
  }
  for (let i = nodes.length; i < count; i++) {
    const at: Node | null = last === null ? parent.firstChild : last.nextSibling;
    if (at === null) break;
    parent.removeChild(at);
  }
  return last;
}

/** Makes a node equal to another of its kind. It reports false if they are of two kinds. */
function adapt(old: Node, now: Node): boolean {
  if (old.nodeName !== now.nodeName) return false;
  if (old instanceof Text) {
    write(old, now as Text);
    return true;
  }
  if (!(old instanceof Element) || !(now instanceof Element)) return false;
  if (old.getAttributeNames().join() !== now.getAttributeNames().join()) return false;
  const same = old.className === now.className;
  for (const { name, value } of now.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  // Code that is highlighted already stays so.
  if (same && old.tagName === 'CODE' && old.firstElementChild !== null && old.textContent === now.textContent) return true;
  morph(old, null, Infinity, [...now.childNodes]);
  return true;
}

function write(old: Text, now: Text): void {
  if (old.data === now.data) return;
  if (now.data.startsWith(old.data)) old.appendData(now.data.slice(old.data.length));
  else old.data = now.data;
}
