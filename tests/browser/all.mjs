// The page in a real browser, with real people around it: other pages, the box's own user at the
// command line, and a program that speaks SLCP. One part after the other, each with its own daemon.

import { shut } from './lib.mjs';
import talk from './parts/talk.mjs';
import boxes from './parts/boxes.mjs';
import house from './parts/house.mjs';
import ways from './parts/ways.mjs';

let failed = 0;
const only = process.argv[2];
for (const [name, part] of Object.entries({ ...talk, ...boxes, ...house, ...ways })) {
  if (only && !name.includes(only)) continue;
  const begun = Date.now();
  try { await part(); console.log(`ok ${((Date.now() - begun) / 1000).toFixed(1)} s  ${name}`); } catch (error) { failed++; console.log(`NOT OK  ${name}\n    ${error.stack}`); }
}
await shut();
console.log(failed ? `${failed} parts failed` : 'all parts hold');
process.exit(failed ? 1 : 0);
