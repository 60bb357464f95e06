// By keyboard, without scripts, in small windows, away and back.

import { Daemon, visitor, enter, open, say, texts, until, shot, sleep, must, same, chrome } from '../lib.mjs';
import { png, fits, fine, picture, images } from '../help.mjs';

export default {
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
      // by a link whose end is no text
      await bob.goto(daemon.base + '/#%E0');
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
