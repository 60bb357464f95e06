// What several parts need beside `lib.mjs`: a picture, and what must hold of every page.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { deflateSync, crc32 } from 'node:zlib';
import { must, same } from './lib.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** A PNG of one colour, with a text chunk that a careless page would run. */
export function png(width, height, [r, g, b], comment = '<script>alert("png")</script>') {
  const crc = crc32 ?? (() => { throw new Error('Node.js 20.15 or newer'); });
  const chunk = (kind, data) => {
    const body = Buffer.concat([Buffer.from(kind), data]), out = Buffer.alloc(8 + body.length);
    out.writeUInt32BE(data.length, 0); body.copy(out, 4); out.writeUInt32BE(crc(body) >>> 0, 4 + body.length);
    return out;
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0); head.writeUInt32BE(height, 4); head.set([8, 2, 0, 0, 0], 8);
  const row = Buffer.concat([Buffer.from([0]), Buffer.alloc(width * 3)]);
  const rows = [];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) row.set([(r + x * 90 / width) & 255, (g + y * 90 / height) & 255, b], 1 + x * 3);
    rows.push(Buffer.from(row));
  }
  return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), chunk('IHDR', head), chunk('tEXt', Buffer.from('Comment\0' + comment)), chunk('IDAT', deflateSync(Buffer.concat(rows))), chunk('IEND', Buffer.alloc(0))]);
}

/** Nothing serious may be wrong for who uses a screen reader or the keyboard. */
export async function accessible(page, where) {
  // by the tools' own way in: the page's policy forbids scripts that are not its own
  const client = await page.context().newCDPSession(page);
  await client.send('Runtime.evaluate', { expression: axe });
  const { result } = await client.send('Runtime.evaluate', { expression: `axe.run(document, { resultTypes: ['violations'] }).then(r => JSON.stringify(r.violations.map(v => ({ id: v.id, impact: v.impact, nodes: v.nodes.slice(0, 3).map(n => n.html.slice(0, 160) + ' ' + (n.any[0]?.message || '')) }))))`, awaitPromise: true, returnByValue: true });
  await client.detach();
  const bad = JSON.parse(result.value).filter(v => ['serious', 'critical'].includes(v.impact));
  same(bad, [], 'axe-core, ' + where);
}

export async function fits(page, where) {
  const wide = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  must(wide[0] <= wide[1], `${where}: ${wide[0]} pixels wide in a window of ${wide[1]}`);
}

export const fine = (...pages) => { for (const page of pages) same(page.wrong, [], 'what went wrong in a page'); };
export const picture = (name, bytes) => ({ name, mimeType: 'image/png', buffer: bytes });
export const images = page => page.$$eval('#log .pic img', all => all.filter(i => i.complete && i.naturalWidth > 0).length);
