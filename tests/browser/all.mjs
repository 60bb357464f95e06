// The page in a real browser, with real people around it: other pages, the box's own user at the
// command line, and a program that speaks SLCP. One part after the other, each with its own daemon.

import { spawn } from 'node:child_process';
import { connect } from 'node:net';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { deflateSync, crc32 } from 'node:zlib';
import { createRequire } from 'node:module';
import { Daemon, visitor, enter, open, say, texts, until, shot, shut, sleep, must, same, chrome } from './lib.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** A PNG of one colour, with a text chunk that a careless page would run. */
function png(width, height, [r, g, b], comment = '<script>alert("png")</script>') {
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
async function accessible(page, where) {
  // by the tools' own way in: the page's policy forbids scripts that are not its own
  const client = await page.context().newCDPSession(page);
  await client.send('Runtime.evaluate', { expression: axe });
  const { result } = await client.send('Runtime.evaluate', { expression: `axe.run(document, { resultTypes: ['violations'] }).then(r => JSON.stringify(r.violations.map(v => ({ id: v.id, impact: v.impact, nodes: v.nodes.slice(0, 3).map(n => n.html.slice(0, 160) + ' ' + (n.any[0]?.message || '')) }))))`, awaitPromise: true, returnByValue: true });
  await client.detach();
  const bad = JSON.parse(result.value).filter(v => ['serious', 'critical'].includes(v.impact));
  same(bad, [], 'axe-core, ' + where);
}

async function fits(page, where) {
  const wide = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  must(wide[0] <= wide[1], `${where}: ${wide[0]} pixels wide in a window of ${wide[1]}`);
}

const fine = (...pages) => { for (const page of pages) same(page.wrong, [], 'what went wrong in a page'); };
const picture = (name, bytes) => ({ name, mimeType: 'image/png', buffer: bytes });
const images = page => page.$$eval('#log .pic img', all => all.filter(i => i.complete && i.naturalWidth > 0).length);

const parts = {
  async 'two pages, the box and an SLCP program chat with one another'() {
    const daemon = await new Daemon('handle = "box"\n').start();
    const peer = spawn('python3', ['tests/netns/peers/raw_tcp.py', 'Nora', '5200', '127.0.0.1', '127.255.255.255'], { stdio: ['pipe', 'pipe', 'inherit'] });
    const heard = [];
    peer.stdout.on('data', data => heard.push(...String(data).trim().split('\n').map(line => JSON.parse(line))));
    try {
      const anna = await enter(await visitor(daemon), 'Anna');
      const bob = await enter(await visitor(daemon, { viewport: { width: 390, height: 780 }, isMobile: true, hasTouch: true, colorScheme: 'dark', locale: 'de-DE' }), 'Bob');
      same(await bob.getAttribute('html', 'lang'), 'de', 'the language of a German browser');
      await until('Anna sees Bob, the box and Nora', async () => (await anna.$$eval('#list .item', all => all.map(e => e.dataset.key))).join() === '#lobby,bob,box,nora');
      await open(anna, 'bob');
      await say(anna, 'Hello Bob! Look: http://example.org/cake?a=1, ok?');
      await until('Bob has an unread message', () => bob.$('#list .item[data-key=anna] .badge'));
      must((await bob.title()).startsWith('(1)'), 'the title says how many');
      await open(bob, 'anna');
      same(await texts(bob), ['Hello Bob! Look: http://example.org/cake?a=1, ok?'], 'what Bob reads');
      same(await bob.$$eval('#log a', all => all.map(a => [a.href, a.rel])), [['http://example.org/cake?a=1', 'noopener noreferrer nofollow']], 'the link');
      await bob.fill('#text', 'Hallo Anna 👋');
      await bob.tap('#send');
      await until('Anna reads it', async () => (await texts(anna)).includes('Hallo Anna 👋'));
      await until('it is marked as delivered', () => bob.$('#log .mine .ticks.done'));
      // the box's own user, at the command line
      await daemon.cli('msg', 'Anna', 'from the box');
      await until('the box is read', () => anna.$('#list .item[data-key=box] .badge'));
      await open(anna, 'box');
      await say(anna, 'to the box');
      await until('the box has it', async () => (await daemon.cli('history', 'Anna')).includes('to the box'));
      // the SLCP program
      await until('Nora knows Anna', () => heard.some(h => h.knows && h.knows.toLowerCase() === 'anna'), 15000);
      peer.stdin.write('msg Anna hi from Nora\n');
      await until('Nora is read', () => anna.$('#list .item[data-key=nora] .badge'), 15000);
      await open(anna, 'nora');
      await say(anna, 'hello Nora');
      await until('Nora reads Anna', () => heard.some(h => h.text && h.text[0] === 'Anna' && h.text[1].trim() === 'hello Nora'), 15000);
      await anna.setInputFiles('#file', picture('for-nora.png', png(40, 30, [10, 90, 160])));
      await until('Nora has the picture', () => heard.some(h => h.image), 15000);
      // a file that SLCP has no place for goes as an address
      await anna.setInputFiles('#file', { name: 'plan.txt', mimeType: 'text/plain', buffer: Buffer.from('by ten') });
      const address = await until('Nora has an address', () => heard.map(h => h.text && /http:\S+\/d\/[0-9a-f]{32}\/plan\.txt/.exec(h.text[1])).find(Boolean), 15000);
      const file = await fetch(address[0]);
      same([await file.text(), file.headers.get('content-type'), file.headers.get('content-disposition').startsWith('attachment')], ['by ten', 'application/octet-stream', true], 'what the address gives');
      const some = await fetch(address[0], { headers: { Range: 'bytes=3-5' } });
      same([some.status, await some.text(), some.headers.get('content-range')], [206, 'ten', 'bytes 3-5/6'], 'a part of it');
      // everyone
      await open(anna, '#lobby');
      await say(anna, 'hello everyone');
      await until('the room of all has it', () => bob.$('#list .item[data-key="#lobby"] .badge'));
      await accessible(anna, 'the chat, light');
      await accessible(bob, 'the chat, dark, on a phone');
      fine(anna, bob);
    } finally { peer.kill(); await daemon.end(); }
  },

  async 'pictures and files go both ways, with lightbox, progress and resumed uploads'() {
    const daemon = await new Daemon('handle = "box"\n').start();
    try {
      const anna = await enter(await visitor(daemon), 'Anna'), bob = await enter(await visitor(daemon), 'Bob');
      await until('they see each other', () => anna.$('#list .item[data-key=bob]'));
      await open(anna, 'bob');
      await say(anna, 'A picture for you:');
      await anna.setInputFiles('#file', picture('cat.png', png(640, 400, [240, 150, 40])));
      await until('Bob has a message', () => bob.$('#list .item[data-key=anna]'));
      await open(bob, 'anna');
      await until('Bob sees the picture', async () => await images(bob) === 1);
      await until('Anna sees hers', async () => await images(anna) === 1);
      await bob.setInputFiles('#file', [picture('dog.png', png(300, 420, [60, 120, 200])), { name: 'plan <b>.txt', mimeType: 'text/html', buffer: Buffer.from('<script>alert(1)</script>'.repeat(40000)) }]);
      await until('Anna sees both pictures', async () => await images(anna) === 2, 15000);
      await until('Anna has the file', () => anna.$('#log .file'));
      must((await anna.textContent('#log .file strong')).includes('plan _b_.txt'), 'its name is harmless');
      const [got] = await Promise.all([anna.waitForEvent('download'), anna.click('#log .file')]);
      same(readFileSync(await got.path()).length, 25 * 40000, 'bytes of the file');
      await anna.click('#log .pic button >> nth=0');
      must(await anna.isVisible('#box[open] #big'), 'the lightbox');
      await anna.keyboard.press('ArrowRight');
      await accessible(anna, 'the lightbox');
      await anna.keyboard.press('Escape');
      must(!await anna.$('#box[open]'), 'Escape closes it');
      await say(anna, '🎉');
      await shot(anna, 'pictures');
      // pasted, and dropped
      await anna.evaluate(bytes => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], 'pasted.png', { type: 'image/png' }));
        document.querySelector('#text').dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true }));
        window.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));
      }, [...png(20, 20, [1, 2, 3])]);
      await until('pasted and dropped pictures arrive', async () => await images(bob) === 4, 15000);
      await until('and Anna sees all of hers as delivered pictures', async () => await images(anna) === 4 && !(await anna.textContent('#log')).includes('Waiting'));
      // the box's own user
      const file = join(daemon.folder, 'box.png');
      writeFileSync(file, png(64, 64, [0, 200, 100]));
      await daemon.cli('img', 'Anna', file);
      await until('the box sent one', () => anna.$('#list .item[data-key=box] .badge'));
      await open(anna, 'box');
      await until('it is shown', async () => await images(anna) === 1);
      // an upload that breaks goes on where it was
      const begin = await anna.request.post(daemon.base + '/api/v1/uploads', { data: { name: 'broken.bin', size: 600000 } }).then(a => a.json());
      const whole = Buffer.from(Array.from({ length: 600000 }, (_, n) => (n * 7 + (n >> 8)) & 255)), place = '/api/v1/uploads/' + begin.id;
      const cookie = (await anna.context().cookies()).map(c => c.name + '=' + c.value).join('; ');
      await new Promise(done => {
        const cut = connect(daemon.port, '127.0.0.1', () => cut.write(`PATCH ${place} HTTP/1.1\r\nHost: 127.0.0.1:${daemon.port}\r\nCookie: ${cookie}\r\nUpload-Offset: 0\r\nContent-Length: 600000\r\n\r\n`, () => cut.write(whole.subarray(0, 300000), () => setTimeout(() => { cut.destroy(); done(); }, 300))));
      });
      const at = await until('the daemon has a part of it', async () => (await (await anna.request.get(daemon.base + place)).json()).offset);
      must(at > 0 && at <= 300000, `it goes on at ${at}`);
      const wrong = await anna.request.patch(daemon.base + place, { headers: { 'Upload-Offset': '0' }, data: whole.subarray(0, 10) });
      same(wrong.status(), 409, 'and nowhere else');
      same((await (await anna.request.patch(daemon.base + place, { headers: { 'Upload-Offset': String(at) }, data: whole.subarray(at) })).json()).offset, 600000, 'the rest of it');
      await anna.request.post(daemon.base + '/api/v1/SendFile', { data: { to: ['bob'], upload: begin.id } });
      const broken = await until('Bob has it', () => bob.$('#log .file:has-text("broken.bin")'));
      const [resumed] = await Promise.all([bob.waitForEvent('download'), broken.click()]);
      must(readFileSync(await resumed.path()).equals(whole), 'its bytes are those that were sent');
      // the page itself goes on when the way breaks in the middle
      let breaks = 1;
      await bob.route('**/api/v1/uploads/*', route => route.request().method() === 'PATCH' && breaks-- > 0 ? route.abort('connectionreset') : route.continue());
      await bob.setInputFiles('#file', ['one', 'two', 'three', 'four', 'five'].map(name => ({ name: name + '.bin', mimeType: 'application/octet-stream', buffer: whole })));
      await until('five at once arrive, the first in spite of a break', async () => { await open(anna, 'bob'); return (await anna.$$('#log .file')).length >= 6; }, 20000);
      // what is no browser's picture is never shown as a page
      const url = await bob.$eval('#log .pic img', i => i.src);
      const answer = await bob.request.get(url);
      same([answer.headers()['content-type'], answer.headers()['x-content-type-options']], ['image/png', 'nosniff'], 'how a picture is served');
      must((await (await visitor(daemon)).request.get(url)).status() === 401, 'a stranger does not get it');
      same((await anna.request.get(url)).status(), 404, 'nor one whom it was not sent to, under that entry');
      fine(anna, bob);
    } finally { await daemon.end(); }
  },

  async 'a restart loses and doubles nothing'() {
    const daemon = await new Daemon('handle = "box"\n').start();
    try {
      const anna = await enter(await visitor(daemon), 'Anna'), bob = await enter(await visitor(daemon), 'Bob');
      same((await fetch(daemon.base + '/metrics')).status, 404, 'figures are for whoever switches them on');
      await until('they see each other', () => anna.$('#list .item[data-key=bob]'));
      await open(anna, 'bob'); await say(anna, 'one');
      await until('Bob hears', () => bob.$('#list .item[data-key=anna]'));
      await open(bob, 'anna');
      for (const [round, signal] of [[1, 'SIGTERM'], [2, 'SIGKILL']]) {
        await sleep(1500); // what was said is kept a second later, and before a question is answered
        await bob.request.get(daemon.base + '/api/v1/History?limit=1');
        await daemon.stop(signal);
        await until('Anna sees that the way is cut', () => anna.isVisible('#offline'), 15000);
        await say(anna, `written while cut off ${round}`);
        await say(anna, `and more ${round}`);
        await shot(anna, 'offline');
        await daemon.start();
        const wanted = ['one', ...[1, 2].slice(0, round).flatMap(n => [`written while cut off ${n}`, `and more ${n}`])];
        await until('Bob has all of it', async () => JSON.stringify(await texts(bob)) === JSON.stringify(wanted), 25000);
        await until('Anna too, and nothing waits', async () => JSON.stringify(await texts(anna)) === JSON.stringify(wanted) && !(await anna.evaluate(() => JSON.parse(localStorage.getItem('klatsch.queue')).texts.length)), 15000);
      }
      await bob.reload();
      await bob.waitForSelector('#app:not([hidden])');
      same(await bob.textContent('#me-name'), 'Bob', 'the name after a reload');
      await until('the history is there after a reload', async () => (await texts(bob)).length === 5);
      // the same key twice is one message
      const send = key => anna.evaluate(key => fetch('/api/v1/Send', { method: 'POST', headers: { 'Content-Type': 'application/json', 'Idempotency-Key': key }, body: JSON.stringify({ to: ['bob'], text: 'twice' }) }).then(r => r.json()), key);
      same(await send('k-1'), await send('k-1'), 'the answers to one key');
      await until('it arrived', async () => (await texts(bob)).includes('twice'));
      await sleep(300);
      same((await texts(bob)).filter(x => x === 'twice').length, 1, 'how often it arrived');
      fine(anna, bob);
    } finally { await daemon.end(); }
  },

  async 'history by scrolling back, search, away and another name'() {
    const daemon = await new Daemon('handle = "box"\n').start();
    try {
      const anna = await enter(await visitor(daemon), 'Anna'), bob = await enter(await visitor(daemon), 'Bob');
      await until('they see each other', () => anna.$('#list .item[data-key=bob]'));
      for (let n = 0; n < 260; n++) await daemon.cli('msg', 'Anna', n === 7 ? 'a needle: čokoláda' : `line ${n}`).catch(error => { throw error; });
      await anna.reload();
      await anna.waitForSelector('#list .item[data-key=box]');
      await open(anna, 'box');
      await until('the newest is there', async () => (await texts(anna)).at(-1) === 'line 259');
      await until('scrolled back to the first', async () => {
        await anna.evaluate(() => { document.querySelector('#scroll').scrollTop = 0; });
        await sleep(300);
        return (await texts(anna))[0] === 'line 0';
      });
      await anna.fill('#search', 'cokola');
      await anna.click('#list .item[data-key^=hit]');
      await until('the found message is in view', () => anna.$('#log .found'));
      await anna.fill('#search', '');
      await open(bob, '#lobby');
      await bob.click('#me');
      await bob.check('#set-away');
      await until('Anna sees that Bob is away', () => anna.$('#list .item[data-key=bob] .face[data-p=away]'));
      await bob.fill('#set-auto', 'gone fishing'); await bob.click('#save-auto');
      await open(anna, 'bob'); await say(anna, 'are you there?');
      await until('the automatic answer', async () => (await texts(anna)).includes('gone fishing'));
      await bob.fill('#set-name', 'Anna'); await bob.click('#rename');
      await until('a taken name is refused and a free one offered', async () => (await bob.textContent('#set-note')).includes('Anna2'));
      await bob.fill('#set-name', 'Robert'); await bob.click('#rename');
      await accessible(bob, 'the settings');
      await until('Anna sees the new name', () => anna.$('#list .item[data-key=robert]'));
      await shot(bob, 'settings');
      fine(anna, bob);
    } finally { await daemon.end(); }
  },

  async 'rooms, pictures and read marks between the pages of two linked boxes'() {
    const settings = name => `handle = "${name}"\n[link]\nread = true\n`;
    const house = await new Daemon(settings('house'), 8484).start(), attic = await new Daemon(settings('attic'), 8485).start();
    try {
      const anna = await enter(await visitor(house), 'Anna'), bob = await enter(await visitor(house), 'Bob'), carol = await enter(await visitor(attic), 'Carol');
      await until('the boxes are linked', () => anna.$('#list .item[data-key=carol]'), 30000);
      await until('both ways', () => carol.$('#list .item[data-key=anna]'), 30000);
      // a room of the pages of both boxes
      await anna.click('#rooms'); await anna.fill('#room-name', 'coffee'); await anna.press('#room-name', 'Enter');
      await until('Anna is in the room', () => anna.$('#list .item[data-key="#coffee"]'));
      for (const page of [bob, carol]) {
        await until('the room is offered', async () => {
          await page.click('#rooms');
          if (await page.$('#room-list button[aria-label="Join #coffee"]')) return true;
          await page.keyboard.press('Escape');
        }, 20000);
        if (page === carol) await accessible(carol, 'the sheet of rooms');
        await page.click('#room-list button[aria-label="Join #coffee"]');
        await until('and entered', () => page.$('#list .item[data-key="#coffee"]'));
      }
      await open(anna, '#coffee');
      await until('Anna sees who is in it', async () => (await anna.textContent('#about')).includes('3 people') && (await anna.textContent('#about')).includes('Carol'), 20000);
      await say(anna, 'coffee is ready');
      await open(bob, '#coffee'); await open(carol, '#coffee');
      for (const page of [bob, carol]) await until('it is read in the room', async () => (await texts(page)).includes('coffee is ready'), 15000);
      await say(carol, 'coming down');
      for (const page of [anna, bob]) await until('and the answer from the other box', async () => (await texts(page)).includes('coming down'), 15000);
      await shot(anna, 'room');
      await fits(anna, 'the room');
      await carol.click('#leave-room');
      await until('Carol is out of it', async () => !(await carol.isVisible('#leave-room')));
      await until('Anna sees that', async () => (await anna.textContent('#about')).includes('2 people'), 20000);
      // a text is marked as read once it was answered
      await open(anna, 'carol'); await say(anna, 'will you come?');
      await until('Carol has it', () => carol.$('#list .item[data-key=anna] .badge'), 15000);
      await open(carol, 'anna'); await say(carol, 'in a minute');
      await until('it is marked as read', () => anna.$('#log .mine .ticks.read'), 15000);
      await anna.setInputFiles('#file', picture('cup.png', png(60, 40, [120, 70, 20])));
      await until('Carol sees the picture', async () => await images(carol) === 1, 20000);
      await until('and Anna that it arrived', async () => (await anna.$$('#log .mine .ticks.done')).length === 2, 15000);
      await shot(anna, 'linked');
      fine(anna, bob, carol);
    } finally { await house.end(); await attic.end(); }
  },

  async 'files and folders for guests of a linked box are asked about, and end with them'() {
    const settings = name => `handle = "${name}"\n[files]\naccept-any = "nobody"\n`;
    const house = await new Daemon(settings('house'), 8484).start(), attic = await new Daemon(settings('attic'), 8485).start();
    try {
      const anna = await enter(await visitor(house), 'Anna'), carol = await enter(await visitor(attic), 'Carol');
      await until('the boxes are linked', () => anna.$('#list .item[data-key=carol]'), 30000);
      await until('both ways', () => carol.$('#list .item[data-key=anna]') && carol.$('#list .item[data-key=house]'), 30000);
      const report = Buffer.alloc(5000000, 'all quiet on the third floor\n');
      await open(anna, 'carol');
      await anna.setInputFiles('#file', { name: 'Bericht 1.pdf', mimeType: 'application/pdf', buffer: report });
      await until('Carol is offered it', () => carol.$('#list .item[data-key=anna] .badge'), 20000);
      await open(carol, 'anna');
      await until('with its name', async () => (await carol.textContent('#log .moving')).includes('Bericht 1.pdf'));
      must(await carol.$('#log .moving progress'), 'how far it is, is shown');
      await accessible(carol, 'an offer');
      await shot(carol, 'offered');
      await until('Anna sees that it waits', () => anna.$('#log .moving.mine'));
      await carol.click('#log .moving button[aria-label="Accept Bericht 1.pdf"]');
      const file = await until('Carol has it', async () => carol.$('#log .msg:not(.moving) button.file strong'), 20000);
      same(await file.textContent(), 'Bericht 1.pdf', 'its name');
      await until('it is no offer any more', async () => !(await carol.$('#log .moving')));
      await until('and Anna that it arrived', () => anna.$('#log .mine .ticks.done'), 15000);
      const saving = carol.waitForEvent('download');
      await file.click();
      must(readFileSync(await (await saving).path()).equals(report), 'what Carol saves is what Anna sent');
      // she does not want the next one
      await anna.setInputFiles('#file', { name: 'spam.zip', mimeType: 'application/zip', buffer: Buffer.from('PK spam') });
      await carol.click('#log .moving button[aria-label="Refuse spam.zip"]', { timeout: 20000 });
      await until('Anna is told', async () => /refused/.test(await anna.textContent('#log')), 15000);
      // a folder of the other box's own user
      mkdirSync(join(house.folder, 'holidays/day 1'), { recursive: true });
      writeFileSync(join(house.folder, 'holidays/day 1/notes & more #1.txt'), 'sunny');
      writeFileSync(join(house.folder, 'holidays/list.txt'), 'towel');
      await house.cli('file', 'carol', join(house.folder, 'holidays')).catch(error => same(error.code, 3, 'it waits to be accepted'));
      await until('Carol is offered the folder', () => carol.$('#list .item[data-key=house] .badge'), 20000);
      await open(carol, 'house');
      await carol.click('#log .moving button[aria-label="Accept holidays"]', { timeout: 10000 });
      await carol.click('#log .msg:not(.moving) button.file[aria-expanded]', { timeout: 20000 });
      await until('what is in it', async () => (await carol.$$('#log .within li')).length === 2);
      same(await carol.$$eval('#log .within strong', all => all.map(e => e.textContent)), ['day 1/notes & more #1.txt', 'list.txt'], 'its files');
      const one = carol.waitForEvent('download');
      await carol.click('#log .within li:first-child button');
      same(readFileSync(await (await one).path(), 'utf8'), 'sunny', 'a file of it');
      await accessible(carol, 'a folder');
      await shot(carol, 'folder');
      const url = await carol.evaluate(async () => { const all = await (await fetch('/api/v1/History?with=house')).json(); return all.entries.find(e => e.body.format === 'folder').body.url; });
      const get = (path, headers = {}) => carol.evaluate(([p, h]) => fetch(p, { headers: h }).then(async r => [r.status, await r.text()]), [path, headers]);
      const [status, html] = await get(url, { Accept: 'text/html' });
      must(status === 200 && html.includes('notes &amp; more #1.txt</a>') && html.includes('/day%201/notes%20%26%20more%20%231.txt"'), 'as links, harmless: ' + html);
      for (const out of ['/..%2f..%2fguests.json', '/day%201/..%2f..%2f..%2fguests.json', '/%2fetc%2fpasswd', '/day%201', '/none']) must((await get(url + out))[0] >= 400, out + ' leads nowhere');
      must((await anna.evaluate(u => fetch(u).then(r => r.status), url)) >= 400, 'it is not for others');
      // she leaves: what was offered to her ends
      await anna.setInputFiles('#file', { name: 'late.pdf', mimeType: 'application/pdf', buffer: report });
      await open(carol, 'anna');
      await until('one more is offered', () => carol.$('#log .moving button[aria-label="Accept late.pdf"]'), 20000);
      await carol.evaluate(() => fetch('/api/v1/session', { method: 'DELETE' }));
      await until('Anna is told that nobody is there', async () => /nobody of that name is there/.test(await anna.textContent('#log')), 15000);
      fine(anna);
    } finally { await house.end(); await attic.end(); }
  },

  async 'a system update from the operator\'s page reaches root\'s side whole'() {
    const daemon = await new Daemon('handle = "box"\nappliance = true\n[web]\noperator-pin = "9876"\n').start();
    const request = join(daemon.folder, 'run/klatsch-request/update'), bundle = join(daemon.folder, '.local/state/klatsch/update/klatsch.raucb');
    const result = line => writeFileSync(join(daemon.folder, 'run/klatsch/update.result'), line + '\n');
    try {
      const update = (body, headers = {}) => fetch(daemon.base + '/api/v1/update', { method: 'POST', headers: { 'Content-Type': 'application/octet-stream', ...headers }, body });
      same((await update('x')).status, 401, 'nobody but the operator');
      const carl = await enter(await visitor(daemon), 'Carl');
      must([401, 403].includes(await carl.evaluate(() => fetch('/api/v1/update', { method: 'POST', headers: { 'Content-Type': 'application/octet-stream' }, body: 'x' }).then(r => r.status))), 'no guest');
      must(!existsSync(request) && !existsSync(bundle), 'nothing of that was taken');
      const boss = await visitor(daemon, { hash: 'operator' });
      await boss.fill('#pin', '9876'); await boss.click('#enter button');
      await until('a box of klatsch\'s own can be updated', () => boss.isVisible('#updating'));
      const bytes = Buffer.alloc(3000001, 'a bundle, root says whether it is a good one ');
      for (const [line, said] of [['done: 0.9.9 stands in slot B', '0.9.9 stands in slot B'], ['refused: the bundle is not signed', 'refused: the bundle is not signed']]) {
        await boss.setInputFiles('#bundle', { name: 'klatsch.raucb', mimeType: 'application/octet-stream', buffer: bytes });
        await boss.click('#install button');
        await until('root is asked', () => existsSync(request), 20000);
        must(readFileSync(bundle).equals(bytes), 'root has all of it');
        rmSync(request);
        result(line);
        await until('its line is shown', async () => (await boss.textContent('#up-said')).includes(said), 20000);
        must(!existsSync(bundle), 'and nothing of it is left');
      }
      fine(boss, carl);
    } finally { await daemon.end(); }
    const other = await new Daemon('handle = "laptop"\n[web]\noperator-pin = "9876"\n').start();
    try {
      const boss = await visitor(other, { hash: 'operator' });
      await boss.fill('#pin', '9876'); await boss.click('#enter button');
      await until('it is signed in', () => boss.isVisible('#node'));
      must(!(await boss.isVisible('#updating')), 'a machine of somebody\'s own offers none');
      const [status, said] = await boss.evaluate(() => fetch('/api/v1/update', { method: 'POST', headers: { 'Content-Type': 'application/octet-stream' }, body: 'x' }).then(async r => [r.status, await r.text()]));
      must(status === 403 && said.includes('not klatsch'), 'nor takes one: ' + status + ' ' + said);
    } finally { await other.end(); }
  },

  async 'limits, PINs and the operator'() {
    const daemon = await new Daemon('handle = "box"\n[web]\npin = "1234"\noperator-pin = "9876"\nmetrics = true\n').start();
    try {
      const anna = await visitor(daemon);
      await accessible(anna, 'the door');
      await shot(anna, 'door');
      await anna.fill('#name', 'Anna'); await anna.fill('#pin', '1111'); await anna.click('#enter button[type=submit]');
      await until('a wrong PIN is refused', async () => (await anna.textContent('#door-note')).length > 0);
      await enter(anna, 'Anna', '1234');
      const post = (path, body, headers = {}) => fetch(daemon.base + '/api/v1/' + path, { method: 'POST', headers: { 'Content-Type': 'application/json', ...headers }, body: JSON.stringify(body) });
      same((await post('session', { handle: 'Anna', pin: '1234' })).status, 409, 'a taken name');
      for (let n = 2; n <= 8; n++) same((await post('session', { handle: 'guest' + n, pin: '1234' })).status, 200, `guest ${n} of one address`);
      same((await post('session', { handle: 'ninth', pin: '1234' })).status, 429, 'one past the guests of an address');
      for (const method of ['Config', 'Block', 'RemoveUser', 'AddUser', 'Leave', 'Status']) {
        same((await anna.evaluate(m => fetch('/api/v1/' + m, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{}' }).then(r => r.status), method)), 403, method + ' by a guest');
      }
      same((await anna.evaluate(() => fetch('/api/v1/Send', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"to":["#lobby"],"text":"x","user":"box"}' }).then(r => r.status))), 403, 'a guest in another name');
      for (let n = 0; n < 3; n++) same((await post('operator', { pin: 'wrong' + n })).status, 401, 'a wrong operator PIN');
      const paused = await post('operator', { pin: '9876' });
      same([paused.status, paused.headers.has('retry-after')], [429, true], 'after three wrong ones there is a pause, even for the right one');
      await sleep(2500);
      const boss = await visitor(daemon, { hash: 'operator' });
      await boss.fill('#pin', '9876'); await boss.click('#enter button');
      await boss.waitForSelector('#guests tr >> text=Anna');
      await until('the chats that are on, and what the doctor says, are shown', async () => /slcp/i.test(await boss.textContent('#node')) && /link/i.test(await boss.textContent('#node')) && (await boss.textContent('#findings')).trim().length > 0);
      await accessible(boss, 'the operator\'s page');
      await shot(boss, 'operator');
      await boss.click('button[aria-label="Mute Anna"]');
      await boss.waitForSelector('button[aria-label="Unmute Anna"]');
      await open(anna, '#lobby'); await say(anna, 'can you hear me?');
      await until('a muted guest is told so', async () => (await anna.textContent('#log .meta .bad')).length > 0 && /mute/i.test(await anna.textContent('#log')));
      // what guests say to each other is not the operator's to read
      same((await boss.evaluate(() => fetch('/api/v1/History', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"user":"guest2"}' }).then(r => r.status))), 403, 'nor in a guest\'s name');
      same((await boss.evaluate(() => fetch('/api/v1/Export', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{}' }).then(r => r.status))), 404, 'nor all at once');
      // who takes a name reads nothing of what another said under it, nor does the operator
      const as = async (name, act) => {
        const came = await post('session', { handle: name, pin: '1234' }), cookie = { Cookie: came.headers.get('set-cookie').split(';')[0] };
        same(came.status, 200, name + ' comes in');
        try { return await act(cookie); } finally { await fetch(daemon.base + '/api/v1/session', { method: 'DELETE', headers: cookie }); }
      };
      await boss.click('button[aria-label="Kick guest8"]');
      await until('guest8 is gone', async () => !(await boss.$('button[aria-label="Kick guest8"]')));
      await as('carl', async cookie => same((await post('Send', { to: ['guest2'], text: 'a secret between guests' }, cookie)).status, 200, 'carl speaks'));
      const second = await as('carl', async cookie => (await fetch(daemon.base + '/api/v1/History?limit=200', { headers: cookie })).text());
      must(!second.includes('secret between'), 'another carl does not read it');
      const seen = await boss.evaluate(() => fetch('/api/v1/History?limit=200').then(r => r.text()));
      must(!seen.includes('secret between guests'), 'the operator reads no private text');
      for (const words of [['history'], ['history', 'carl'], ['export']]) must(!(await daemon.cli(...words).catch(e => e.stdout)).includes('secret between'), 'nor ' + words.join(' '));
      await daemon.cli('--as', 'guest2', 'history').then(() => must(false, 'the box acts as a guest'), error => must(/guest of the page/.test(error.stderr), 'nobody acts as a guest: ' + error.stderr));
      // what is kept, and for how long
      await boss.selectOption('#keep', '1day');
      await until('it is kept for a day', async () => /\b1day\b/.test(await daemon.cli('config', 'history.keep')));
      await daemon.cli('all', 'said to everyone before all is deleted');
      await boss.click('#forget-all');
      await until('all is deleted for good', async () => /entries are deleted/.test(await boss.textContent('#said')) && !(await daemon.cli('history', '#lobby')).includes('said to everyone'));
      // the PINs are told to nobody, and a new one holds
      must(!(await boss.content()).includes('1234') && !(await daemon.cli('config')).includes('1234'), 'no PIN is shown');
      await boss.fill('#set-web-pin', '5678'); await boss.press('#set-web-pin', 'Enter');
      await until('another PIN holds', async () => (await post('session', { handle: 'late', pin: '1234' })).status === 401);
      // the block list
      const peer = spawn('python3', ['tests/netns/peers/raw_tcp.py', 'Nora', '5200', '127.0.0.1', '127.255.255.255'], { stdio: ['pipe', 'ignore', 'inherit'] });
      try {
        await boss.click('button[aria-label="Block Nora"]', { timeout: 15000 });
        await boss.click('#blocked button[aria-label="Unblock nora"]');
        await boss.waitForSelector('button[aria-label="Block Nora"]');
      } finally { peer.kill(); }
      // files on their way, and an end to one
      const upload = await anna.request.post(daemon.base + '/api/v1/uploads', { data: { name: 'secret plans.txt', size: 50000 } });
      same(upload.status(), 403, 'a muted guest sends no file');
      await boss.click('button[aria-label="Unmute Anna"]');
      await boss.waitForSelector('button[aria-label="Mute Anna"]');
      const { id } = await anna.request.post(daemon.base + '/api/v1/uploads', { data: { name: 'secret plans.txt', size: 50000 } }).then(a => a.json());
      await boss.click('#refresh');
      await boss.waitForSelector('#transfers button[aria-label="Cancel Anna"]');
      must(!(await boss.content()).includes('secret plans'), 'what it is called is not the operator\'s to read');
      await boss.click('#transfers button[aria-label="Cancel Anna"]');
      await until('the upload is over', async () => (await anna.request.get(daemon.base + '/api/v1/uploads/' + id)).status() === 404);
      await boss.uncheck('#open');
      await until('newcomers are kept out', async () => (await (await fetch(daemon.base + '/api/v1/session')).json()).open === false);
      await boss.click('button[aria-label="Kick Anna"]');
      await until('Anna is at the door again', () => anna.isVisible('#door'), 15000);
      must((await (await fetch(daemon.base + '/metrics')).text()).includes('klatsch_guests '), 'metrics');
      // a ban is for the address, and is lifted
      await boss.check('#open');
      await boss.click('button[aria-label="Ban guest7"]');
      await boss.waitForSelector('#banned button[aria-label="Lift 127.0.0.1"]');
      same((await fetch(daemon.base + '/api/v1/session')).status, 403, 'a banned address');
      same((await fetch(daemon.base + '/')).status, 403, 'the page itself');
      await boss.click('#banned button[aria-label="Lift 127.0.0.1"]');
      await until('the address may again', async () => (await fetch(daemon.base + '/api/v1/session')).status === 200);
      must(!(await boss.$('button[aria-label="Ban guest7"]')), 'and the guest is gone');
      for (const [locale, word] of [['de-DE', 'Betrieb'], ['cs-CZ', 'Správa'], ['fr-FR', 'Operator']]) {
        const other = await visitor(daemon, { hash: 'operator', locale });
        await other.waitForSelector('#door:not([hidden])');
        same(await other.textContent('#door h1'), word, 'the operator\'s page of a browser in ' + locale);
        await other.context().close();
      }
      await accessible(boss, 'the operator\'s page with all in it');
      await shot(boss, 'operator-later');
      const run = async () => (await (await fetch(daemon.base + '/api/v1/session')).json()).last.split(':')[0];
      const before = await run();
      await boss.click('#restart');
      await until('the daemon began anew', async () => await run() !== before, 20000);
      must((await daemon.cli('qr')).includes('http://127.0.0.1:8484/'), 'the address under the QR code');
      fine(boss);
    } finally { await daemon.end(); }
  },

  async 'markup in names, texts, file names and pictures stays text'() {
    const daemon = await new Daemon('handle = "box"\n').start();
    try {
      const evil = ['<script>alert(1)</script>', '<img src=x onerror=alert(2)>', '"><svg onload=alert(3)>', "javascript:alert(4)", 'http://a.b/"onmouseover="alert(5)', '{{constructor.constructor("alert(6)")()}}', '</textarea><script>alert(7)</script>', '\u202egnp.exe'];
      const anna = await enter(await visitor(daemon), '<b>Anna</b>'), bob = await enter(await visitor(daemon), '<img/src=x/onerror=alert(0)>');
      const key = (await anna.$$eval('#list .item', all => all.map(e => e.dataset.key))).find(k => k.startsWith('<img')) || '<img/src=x/onerror=alert(0)>';
      await until('they see each other', () => anna.$(`#list .item[data-key="${key}"]`));
      await anna.click(`#list .item[data-key="${key}"]`);
      for (const text of evil) await say(anna, text);
      await until('Bob has them', () => bob.$('#list .item .badge'));
      await bob.click('#list .item:has(.badge)');
      await until('as text', async () => { const seen = await texts(bob); return evil.slice(0, 7).every(text => seen.includes(text)); });
      await anna.setInputFiles('#file', [picture('"><script>alert(8)</script>.png', png(30, 30, [200, 0, 0])), { name: 'x.svg', mimeType: 'image/svg+xml', buffer: Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" onload="alert(9)"/>') }, { name: 'x.html', mimeType: 'text/html', buffer: Buffer.from('<script>alert(10)</script>') }]);
      await until('the picture is shown', async () => await images(bob) === 1);
      await until('the others are files to save', async () => (await bob.$$('#log .file')).length === 2);
      const link = await bob.evaluate(() => { const seen = [...document.querySelectorAll('#log .file strong')].map(e => e.textContent); return seen; });
      same([...link].sort(), ['x.html', 'x.svg'], 'the names of the files');
      // bytes that are a picture and a page at once are served as a picture, whatever they are called
      await anna.setInputFiles('#file', { name: 'x.html', mimeType: 'text/html', buffer: Buffer.concat([Buffer.from('GIF89a\x04\0\x04\0\0\0\0', 'latin1'), Buffer.from('<html><script>alert(11)</script>')]) });
      const both = await until('Bob has it', async () => (await bob.$$eval('#log [src*="/files/"]', all => all.map(i => i.src)))[1]);
      const served = await bob.request.get(both);
      same([served.headers()['content-type'], served.headers()['x-content-type-options'], served.headers()['content-security-policy'].includes('sandbox')], ['image/gif', 'nosniff', true], 'how it is served');
      await say(bob, 'see http://127.0.0.1:1/d/00000000000000000000000000000000/%3Cimg%20src=x%3E');
      await sleep(500);
      for (const page of [anna, bob]) same(await page.$$eval('#log script, #log svg[onload], #log [onerror], #log [onmouseover], #list script, #list img', all => all.length), 0, 'elements that nobody here made');
      const plain = await bob.request.get(daemon.base + '/plain/log?with=' + encodeURIComponent('<b>Anna</b>'));
      const page = await plain.text();
      must(!page.includes('<script>') && !page.includes('<img') && page.includes('&lt;script&gt;'), 'the page without scripts escapes too');
      fine(anna, bob);
    } finally { await daemon.end(); }
  },

  async 'everything goes by keyboard'() {
    const daemon = await new Daemon('handle = "box"\n').start();
    try {
      const bob = await enter(await visitor(daemon), 'Bob'), anna = await visitor(daemon);
      await anna.waitForSelector('#name:focus');
      await anna.keyboard.type('Anna'); await anna.keyboard.press('Enter');
      await anna.waitForSelector('#list .item[data-key=bob]');
      await anna.keyboard.press('Control+k');
      await anna.waitForSelector('#search:focus');
      await anna.keyboard.type('bo'); await anna.keyboard.press('ArrowDown');
      await until('arrows move in the list', () => anna.evaluate(() => document.activeElement.classList.contains('item')));
      await until('to Bob', async () => { if (await anna.evaluate(() => document.activeElement.dataset.key) === 'bob') return true; await anna.keyboard.press('ArrowDown'); return false; });
      await anna.keyboard.press('Enter');
      await anna.waitForSelector('#text:focus');
      await anna.keyboard.type('typed'); await anna.keyboard.press('Shift+Enter'); await anna.keyboard.type('in two lines'); await anna.keyboard.press('Enter');
      await until('Bob has it', () => bob.$('#list .item[data-key=anna]'));
      const seen = [];
      for (let n = 0; n < 25; n++) { await anna.keyboard.press('Tab'); seen.push(await anna.evaluate(() => { const e = document.activeElement, s = getComputedStyle(e); return (e.id || e.className || e.tagName) + (e === document.body || e.matches('textarea') || s.outlineStyle !== 'none' ? '' : ' without a mark'); })); }
      for (const wanted of ['me', 'search', 'invite', 'scroll', 'attach', 'text', 'smile', 'send']) must(seen.includes(wanted), `Tab reaches ${wanted}: ${seen}`);
      must(!seen.some(s => s.includes('without')), `what has the focus is marked: ${seen}`);
      await anna.focus('#smile'); await anna.keyboard.press('Enter'); await anna.keyboard.press('ArrowRight'); await anna.keyboard.press('Enter');
      must((await anna.inputValue('#text')).length > 0, 'an emoji by keyboard');
      await anna.focus('#me'); await anna.keyboard.press('Enter');
      must(await anna.isVisible('#settings[open]'), 'the settings open'); await anna.keyboard.press('Escape');
      must(!await anna.isVisible('#settings[open]'), 'and close');
      await anna.keyboard.press('Alt+ArrowUp');
      await until('Alt and an arrow change the conversation', async () => await anna.textContent('#title') !== 'Bob');
      fine(anna, bob);
    } finally { await daemon.end(); }
  },

  async 'without scripts it reads and writes'() {
    const daemon = await new Daemon('handle = "box"\n[web]\npin = "77"\n').start();
    try {
      const bob = await enter(await visitor(daemon), 'Bob', '77');
      const context = await (await chrome()).newContext({ javaScriptEnabled: false, viewport: { width: 360, height: 640 } });
      const anna = await context.newPage();
      await anna.goto(daemon.base + '/');
      await anna.waitForURL('**/plain');
      await anna.fill('#handle', 'Bob'); await anna.fill('#pin', '77'); await anna.click('button');
      must((await anna.textContent('.note')).includes('Bob2'), 'a taken name, and a free one');
      await anna.fill('#pin', '77'); await anna.click('button');
      await anna.click('a:text-is("Bob")');
      await anna.fill('#text', 'by form <b>'); await anna.click('button:text-is("Send")');
      await until('Bob reads it', () => bob.$('#list .item[data-key=bob2] .badge'));
      await open(bob, 'bob2'); await say(bob, 'by script');
      await until('the frame shows it', async () => { await anna.click('a:text-is("Refresh")'); return (await anna.frameLocator('iframe').locator('body').textContent()).includes('by script'); });
      must((await anna.frameLocator('iframe').locator('body').textContent()).includes('by form <b>'), 'and what was sent');
      await shot(anna, 'plain');
      for (const [locale, title, code] of [['cs-CZ', 'Vstoupit do chatu', 'cs'], ['de-AT', 'Mitchatten', 'de'], ['fr-FR', 'Join the chat', 'en']]) {
        const other = await (await (await chrome()).newContext({ javaScriptEnabled: false, locale })).newPage();
        await other.goto(daemon.base + '/plain');
        same([await other.textContent('h1'), await other.getAttribute('html', 'lang')], [title, code], 'the page without scripts in ' + locale);
        await other.fill('#handle', 'X'); await other.fill('#pin', '1'); await other.click('button');
        must((await other.textContent('.note')).length > 5, 'a wrong PIN there');
        await other.context().close();
      }
      await anna.goBack(); await anna.goForward();
      await anna.click('button:text-is("Leave the chat")');
      await anna.waitForSelector('#handle');
      fine(bob);
    } finally { await daemon.end(); }
  },

  async 'who closes the page is away, and back when it is opened again'() {
    const daemon = await new Daemon('handle = "box"\n[web]\ncaptive = true\n').start();
    try {
      const anna = await enter(await visitor(daemon), 'Anna'), bob = await enter(await visitor(daemon), 'Bob');
      await until('they see each other', () => anna.$('#list .item[data-key=bob]'));
      await bob.goto('about:blank');
      await until('Bob is away', () => anna.$('#list .item[data-key=bob] .face[data-p=away]'), 40000);
      await open(anna, 'bob'); await say(anna, 'while you were away');
      await until('his answer comes by itself', async () => (await texts(anna)).length === 2);
      await bob.goto(daemon.base);
      await until('Bob is back', () => anna.$('#list .item[data-key=bob] .face[data-p=online]'), 15000);
      await open(bob, 'anna');
      await until('and reads what came meanwhile', async () => (await texts(bob)).includes('while you were away'));
      // a phone that asks whether there is internet is led to the page
      for (const path of ['generate_204', 'gen_204', 'hotspot-detect.html', 'library/test/success.html', 'connecttest.txt', 'ncsi.txt', 'redirect', 'success.txt', 'canonical.html']) {
        const probe = await fetch(`${daemon.base}/${path}`, { redirect: 'manual' });
        same([probe.status, probe.headers.get('location')], [303, 'http://127.0.0.1:8484/'], 'the answer to the captive-portal probe ' + path);
      }
      fine(anna);
    } finally { await daemon.end(); }
  },

  async 'a new message is heard and stands in the title'() {
    const daemon = await new Daemon('handle = "box"\n').start();
    try {
      const anna = await enter(await visitor(daemon), 'Anna');
      const context = await (await chrome()).newContext({ viewport: { width: 1100, height: 760 } });
      // what would be heard is counted
      await context.addInitScript(() => { window.tones = []; AudioContext.prototype.createOscillator = (real => function () { const tone = real.call(this); tone.start = (start => at => { window.tones.push(tone.frequency.value); start.call(tone, at); })(tone.start); return tone; })(AudioContext.prototype.createOscillator); });
      const bob = await context.newPage();
      await bob.goto(daemon.base);
      await enter(bob, 'Bob');
      const tones = () => bob.evaluate(() => window.tones.length);
      await until('they see each other', () => anna.$('#list .item[data-key=bob]'));
      await open(anna, 'bob');
      await say(anna, 'while Bob looks elsewhere');
      await until('two tones', async () => await tones() === 2);
      await until('the title', async () => await bob.title() === '(1) klatsch');
      await sleep(1600);
      await anna.evaluate(() => Promise.all(['and later', 'two at once'].map(text => fetch('/api/v1/Send', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ to: ['bob'], text }) }))));
      await until('they are counted', async () => await bob.title() === '(3) klatsch');
      same(await tones(), 4, 'a second one at once is not heard');
      await open(bob, 'anna');
      await until('the title is plain when it was read', async () => await bob.title() === 'klatsch');
      await bob.click('#me'); await bob.uncheck('#set-sound'); await bob.keyboard.press('Escape');
      await open(bob, '#lobby');
      await sleep(1600);
      await say(anna, 'without a sound');
      await until('it is counted', async () => await bob.title() === '(1) klatsch');
      same(await tones(), 4, 'sound is off');
      await bob.reload();
      await bob.waitForSelector('#app:not([hidden])');
      must(!await bob.isChecked('#set-sound'), 'and stays off');
      fine(anna);
    } finally { await daemon.end(); }
  },

  async 'small and large windows'() {
    const daemon = await new Daemon('handle = "box"\n').start();
    try {
      const bob = await enter(await visitor(daemon, { viewport: { width: 320, height: 568 }, isMobile: true, hasTouch: true }), 'Bob');
      const anna = await enter(await visitor(daemon, { viewport: { width: 1920, height: 1080 }, locale: 'cs-CZ' }), 'Anna-with-a-rather-long-name-as-some-people-have');
      const name = 'anna-with-a-rather-long-name-as-some-people-have';
      await fits(bob, 'the list at 320');
      await until('they see each other', () => bob.$(`#list .item[data-key="${name}"]`));
      await open(bob, name);
      await bob.fill('#text', 'x'.repeat(300)); await bob.tap('#send');
      await bob.setInputFiles('#file', picture('wide.png', png(900, 90, [120, 40, 90])));
      await until('the picture is there', async () => await images(bob) === 1);
      await fits(bob, 'the chat at 320');
      const small = await bob.$$eval('button', all => all.filter(b => b.offsetParent && (b.offsetWidth < 40 || b.offsetHeight < 40) && !b.closest('.meta')).map(b => b.id || b.textContent));
      same(small, [], 'buttons too small for a thumb');
      await shot(bob, 'at-320');
      await bob.tap('#back');
      must(await bob.isVisible('#list'), 'back to the list');
      await open(anna, 'bob'); await say(anna, 'Žluťoučký kůň');
      await fits(anna, 'the chat at 1920');
      await shot(anna, 'at-1920');
      fine(anna, bob);
    } finally { await daemon.end(); }
  },
};

let failed = 0;
const only = process.argv[2];
for (const [name, part] of Object.entries(parts)) {
  if (only && !name.includes(only)) continue;
  const begun = Date.now();
  try { await part(); console.log(`ok ${((Date.now() - begun) / 1000).toFixed(1)} s  ${name}`); } catch (error) { failed++; console.log(`NOT OK  ${name}\n    ${error.stack}`); }
}
await shut();
console.log(failed ? `${failed} parts failed` : 'all parts hold');
process.exit(failed ? 1 : 0);
