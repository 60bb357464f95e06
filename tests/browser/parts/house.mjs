// What guests may not: limits, PINs, markup; and what the operator may.

import { spawn } from 'node:child_process';
import { Daemon, visitor, enter, open, say, texts, until, shot, sleep, must, same } from '../lib.mjs';
import { png, accessible, fine, picture, images } from '../help.mjs';

export default {
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
};
