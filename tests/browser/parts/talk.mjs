// What people do all day: texts, pictures, files, history, over restarts.

import { spawn } from 'node:child_process';
import { connect } from 'node:net';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Daemon, visitor, enter, open, say, texts, until, shot, sleep, must, same } from '../lib.mjs';
import { png, accessible, fine, picture, images } from '../help.mjs';

export default {
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
};
