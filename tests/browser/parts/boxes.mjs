// With other machines: linked boxes and their files, and a system update.

import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Daemon, visitor, enter, open, say, texts, until, shot, must, same } from '../lib.mjs';
import { png, accessible, fits, fine, picture, images } from '../help.mjs';

export default {
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
      // nor, where she has no scripts, the one after that
      await anna.setInputFiles('#file', { name: 'more.zip', mimeType: 'application/zip', buffer: Buffer.from('PK more') });
      const [, number] = await until('it stands in the plain conversation', async () => /more\.zip[^]*name="number" value="(\d+)"/.exec(await carol.evaluate(() => fetch('/plain/log').then(r => r.text()))), 20000);
      must((await carol.evaluate(n => fetch('/plain/file', { method: 'POST', body: new URLSearchParams({ number: n, act: 'refuse', with: 'anna' }) }).then(r => r.ok), number)), 'the form is taken');
      await until('Anna is told of that too', async () => (await anna.textContent('#log')).split('refused').length >= 3, 15000);
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
};
