// Makes the two pictures of the page that the README shows: a laptop and a phone in one chat.
//   tests/browser/run.sh tests/browser/pictures.mjs docs

import { Daemon, visitor, enter, open, say, texts, until, shut, sleep } from './lib.mjs';

const folder = process.argv[2] || 'target/browser';
const daemon = await new Daemon('handle = "kiosk"\n').start();
try {
  const anna = await enter(await visitor(daemon, { viewport: { width: 1180, height: 740 }, deviceScaleFactor: 1 }), 'Anna');
  const tomas = await enter(await visitor(daemon, { viewport: { width: 390, height: 740 }, isMobile: true, hasTouch: true, deviceScaleFactor: 1, colorScheme: 'dark', locale: 'de-DE' }), 'Tomáš');
  const mia = await enter(await visitor(daemon), 'Mia');
  await until('all are here', async () => (await anna.$$('#list .item')).length === 4);
  // a picture, painted by the browser itself
  const photo = await anna.evaluate(() => {
    const c = document.createElement('canvas'); c.width = 640; c.height = 420;
    const g = c.getContext('2d'), sky = g.createLinearGradient(0, 0, 0, 420);
    for (const [at, colour] of [[0, '#f6c98b'], [0.55, '#f3e2c6'], [1, '#b98a5e']]) sky.addColorStop(at, colour);
    g.fillStyle = sky; g.fillRect(0, 0, 640, 420);
    g.fillStyle = '#6b4423'; g.fillRect(0, 330, 640, 90);
    g.fillStyle = '#fff'; g.beginPath(); g.ellipse(320, 345, 150, 26, 0, 0, 7); g.fill();
    g.beginPath(); g.moveTo(220, 190); g.lineTo(420, 190); g.quadraticCurveTo(415, 335, 360, 340); g.lineTo(280, 340); g.quadraticCurveTo(225, 335, 220, 190); g.fill();
    g.lineWidth = 20; g.strokeStyle = '#fff'; g.beginPath(); g.arc(425, 245, 38, -1.2, 1.6); g.stroke();
    g.fillStyle = '#4a2c17'; g.beginPath(); g.ellipse(320, 192, 98, 22, 0, 0, 7); g.fill();
    g.lineWidth = 7; g.strokeStyle = '#ffffffaa'; for (const x of [280, 320, 360]) { g.beginPath(); g.moveTo(x, 150); g.bezierCurveTo(x - 26, 115, x + 26, 95, x, 55); g.stroke(); }
    return c.toDataURL('image/png').split(',')[1];
  });
  await open(tomas, '#lobby'); await open(anna, '#lobby');
  const write = async (page, text) => { await page.fill('#text', text); await page.click('#send'); await until(text, async () => (await texts(anna)).includes(text)); };
  await open(mia, '#lobby'); await write(mia, 'Good morning! Is the projector in room 2 free at eleven?');
  await write(anna, 'Yes, until noon. The slides are at http://10.0.0.5/slides');
  await write(tomas, 'Kaffee ist fertig ☕');
  await tomas.setInputFiles('#file', { name: 'kaffee.png', mimeType: 'image/png', buffer: Buffer.from(photo, 'base64') });
  await until('the picture is there', async () => (await anna.$$('#log .pic img')).length === 1 && (await tomas.$$('#log .pic img')).length === 1);
  await write(mia, 'On my way!');
  await write(anna, '🎉');
  await daemon.cli('msg', 'Anna', 'The door closes at six today.');
  await until('unread', () => anna.$('#list .item[data-key=kiosk] .badge'));
  await mia.click('#me'); await mia.check('#set-away');
  await until('Mia is away', () => anna.$('.face[data-p=away]'));
  await anna.evaluate(() => document.activeElement.blur());
  await sleep(700);
  await anna.screenshot({ path: `${folder}/page-laptop.png` });
  await tomas.screenshot({ path: `${folder}/page-phone.png` });
} finally { await daemon.end(); await shut(); }
