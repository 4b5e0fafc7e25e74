/** The button on a piece of code. */

/** How long the button says that it has copied, in milliseconds. */
const SAID = 2000;

/** Lets the copy buttons in an element copy the code of their frame. */
export function copyOnClick(element: HTMLElement): void {
  element.addEventListener('click', (event) => {
    const button = (event.target as Element | null)?.closest?.('button.copy');
    const code = button?.closest('.code')?.querySelector('pre > code');
    if (button && code) void copy(code).then((done) => done && say(button));
  });
}

/** Without a clipboard, which a page has only on a trustworthy origin, the code is selected, to be copied by hand. */
async function copy(code: Element): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(`${code.textContent ?? ''}\n`);
    return true;
  } catch {
    getSelection()?.selectAllChildren(code);
    return false;
  }
}

function say(button: Element): void {
  button.textContent = 'Copied';
  button.setAttribute('aria-label', 'Copied');
  setTimeout(() => {
    button.textContent = 'Copy';
    button.setAttribute('aria-label', 'Copy code');
  }, SAID);
}
