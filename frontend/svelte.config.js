/** Runes only, and the style sheet a file of its own: the content security policy forbids inline style. */
export default { compilerOptions: { runes: true, css: 'external' } };
