/** Colours for code. The highlighter is loaded with the first code that it knows the language of; a language is never guessed. */

/** In UTF-16 code units. Longer code stays plain: it would hold up the drawing. */
const LONGEST = 50_000;

/** The languages by what an info string calls them: the highlighter's name and ours. */
const LANGUAGES = new Map<string, readonly [name: string, label: string]>();
for (const [name, label, aliases] of [
  ['bash', 'Shell', 'sh shell zsh console'],
  ['cpp', 'C++', 'c++ cc cxx hpp'],
  ['cpp', 'C', 'c h'],
  ['css', 'CSS', ''],
  ['go', 'Go', 'golang'],
  ['java', 'Java', ''],
  ['javascript', 'JavaScript', 'js jsx mjs cjs'],
  ['json', 'JSON', 'jsonc json5 jsonl'],
  ['python', 'Python', 'py python3'],
  ['sql', 'SQL', 'postgres postgresql sqlite mysql'],
  ['typescript', 'TypeScript', 'ts tsx mts cts'],
  ['xml', 'XML', 'svg xsl rss plist'],
  ['xml', 'HTML', 'html vue svelte xhtml'],
  ['yaml', 'YAML', 'yml'],
] as const) {
  for (const alias of [name, ...aliases.split(' ')]) {
    if (alias !== '' && !LANGUAGES.has(alias)) LANGUAGES.set(alias, [name, label]);
  }
}

type Highlight = (code: string, language: string) => string;

let highlight: Highlight | undefined;
let loading = false;
let failures = 0;
const waiting = new Set<Element>(); // code for the highlighter

/** What a piece of code's language is called: by us if we know it, else by the source. */
export function labelOf(code: Element): string {
  const language = languageOf(code);
  return LANGUAGES.get(language)?.[1] ?? language;
}

function languageOf(code: Element): string {
  return code.className.replace(/^language-/, '').toLowerCase();
}

/**
 * Colours the code among the elements, at once if the highlighter is there, else
 * when it has come, if the code is still the page's then. Code that cannot be
 * coloured stays as it is.
 */
export function colour(elements: readonly Element[]): void {
  for (const element of elements) {
    for (const code of element.querySelectorAll('pre > code[class]')) colourCode(code);
  }
}

function colourCode(code: Element): void {
  const name = LANGUAGES.get(languageOf(code))?.[0];
  const text = code.textContent ?? '';
  if (name === undefined || text === '' || text.length > LONGEST || code.firstElementChild !== null) return;
  if (highlight === undefined) {
    waiting.add(code);
    if (!loading) void load();
    return;
  }
  code.replaceChildren(nodes(highlight(text, name)));
}

/** Loads the highlighter for the code that waits. If it does not come, the next code tries again. */
async function load(): Promise<void> {
  loading = true;
  try {
    // A browser remembers that a module did not load: it is asked for by another name then.
    const module = (failures === 0 ? await import('./languages.ts') : await import(/* @vite-ignore */ `./languages.js?${failures}`)) as typeof import('./languages.ts');
    ({ highlight } = module);
  } catch {
    failures++;
  }
  loading = false;
  for (const code of [...waiting]) {
    if (!code.isConnected || highlight !== undefined) waiting.delete(code);
    if (code.isConnected && highlight !== undefined) colourCode(code);
  }
}

/** The highlighter's HTML as nodes: spans with classes and text, whatever it holds. */
function nodes(html: string): DocumentFragment {
  const fragment = document.createDocumentFragment();
  let at: Node = fragment;
  for (const [part, name] of html.matchAll(/<span class="([\w -]+)">|<\/span>|[^<]+/g)) {
    if (name !== undefined) {
      const span = document.createElement('span');
      span.className = name;
      at = at.appendChild(span);
    } else if (part === '</span>') {
      at = at.parentNode ?? fragment;
    } else {
      at.appendChild(document.createTextNode(part.replace(/&(?:amp|lt|gt|quot|#x27);/g, (entity) => CHARACTERS[entity] ?? entity)));
    }
  }
  return fragment;
}

const CHARACTERS: Record<string, string> = { '&amp;': '&', '&lt;': '<', '&gt;': '>', '&quot;': '"', '&#x27;': "'" };
