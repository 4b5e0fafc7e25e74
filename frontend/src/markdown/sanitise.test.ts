import { expect, test } from 'vitest';
import { disarm } from './sanitise.ts';

test.each([
  ['<b style="x">style</b>', '<b &#115;tyle="x">&#115;tyle</b>'],
  ['<b/STYLE=x>', '<b/&#83;TYLE=x>'],
  ['<style>a{}</style>', '<template>a{}</template>'],
  ['<BASE href=x>', '<x-base href=x>'],
  ['<basefont>', '<basefont>'],
  ['<b title="x">y</b>', '<b title="x">y</b>'],
])('%j is disarmed as %j', (html, disarmed) => {
  expect(disarm(html)).toBe(disarmed);
});
