import { expect, test } from 'vitest';
import { disarm, isDeep } from './sanitise.ts';

test.each([
  ['<b style="x">style</b>', '<b &#115;tyle="x">&#115;tyle</b>'],
  ['<b/STYLE=x>', '<b/&#83;TYLE=x>'],
  ['<style>a{}</style>', '<template>a{}</template>'],
  ['<BASE href=x>', '<&#66;ASE href=x>'],
  ['<basefont>', '<basefont>'],
  ['<b title="x">y</b>', '<b title="x">y</b>'],
])('%j is disarmed as %j', (html, disarmed) => {
  expect(disarm(html)).toBe(disarmed);
});

test('HTML is deep by what it leaves open', () => {
  expect(isDeep('<div>'.repeat(4000))).toBe(true);
  expect(isDeep('<b>x</b><br><p>y<ul><li>z</ul>'.repeat(4000))).toBe(false);
});
