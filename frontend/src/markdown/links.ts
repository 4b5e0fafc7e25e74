/** Links that are safe to follow. */

/** Directions that make a text read as what it is not. */
const OVERRIDES = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** Makes a link safe to follow, or no link: it goes to an absolute address elsewhere, without a name and password, and is what it says. */
export function guard(link: HTMLAnchorElement): void {
  const url = absolute(link.getAttribute('href') ?? '');
  if (url === undefined) {
    link.replaceWith(...link.childNodes);
    return;
  }
  link.setAttribute('href', url.href);
  const title = link.getAttribute('title');
  if (title !== null) link.setAttribute('title', title.replace(OVERRIDES, ''));
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
