// What the browser tests stand on: a daemon of one's own, pages in a real Chromium, and a few
// words to say what must hold. Everything runs within a network namespace (run.sh makes it).

import { spawn, execFile } from 'node:child_process';
import { mkdtempSync, writeFileSync, mkdirSync, rmSync, readFileSync, readdirSync, existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { chromium } from 'playwright-core';

export const BINARY = process.env.KLATSCH || 'target/debug/klatsch';
export const SHOTS = 'target/browser';
mkdirSync(SHOTS, { recursive: true });
const run = promisify(execFile);
export const sleep = ms => new Promise(done => setTimeout(done, ms));

export function must(holds, what) { if (!holds) throw new Error('does not hold: ' + what); }
export function same(found, wanted, what) {
  const [f, w] = [JSON.stringify(found), JSON.stringify(wanted)];
  if (f !== w) throw new Error(`${what}: found ${f}, expected ${w}`);
}
/** Waits until something holds. */
export async function until(what, holds, ms = 20000) {
  const end = Date.now() + ms;
  for (let last; ;) {
    try { last = await holds(); if (last) return last; } catch (error) { last = error; }
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}${last instanceof Error ? ' (' + last.message + ')' : ''}`);
    await sleep(50);
  }
}

/** A daemon with a folder of its own. */
export class Daemon {
  constructor(settings = '', port = 8484) {
    this.folder = mkdtempSync(join(tmpdir(), 'klatsch-browser-'));
    this.port = port;
    this.base = `http://127.0.0.1:${port}`;
    this.log = '';
    writeFileSync(join(this.folder, 'klatsch.toml'), settings.replace('[web]', `[web]\nport = ${port}`).includes('[web]') ? settings.replace('[web]', `[web]\nport = ${port}`) : settings + `\n[web]\nport = ${port}\n`);
    mkdirSync(join(this.folder, 'run'));
    this.env = { ...process.env, HOME: this.folder, XDG_RUNTIME_DIR: join(this.folder, 'run'), XDG_STATE_HOME: '', XDG_CONFIG_HOME: '', KLATSCH_LOG: 'info' };
    for (const name of ['XDG_STATE_HOME', 'XDG_CONFIG_HOME', 'XDG_PICTURES_DIR']) delete this.env[name];
  }

  async start() {
    this.process = spawn(BINARY, ['run', '--config', join(this.folder, 'klatsch.toml')], { env: this.env, stdio: ['ignore', 'ignore', 'pipe'] });
    this.process.stderr.on('data', text => { this.log += text; });
    this.ended = new Promise(done => this.process.on('exit', done));
    await until('the page is served', async () => (await fetch(this.base + '/healthz')).ok);
    return this;
  }

  async stop(signal = 'SIGTERM') { this.process.kill(signal); await this.ended; }
  async end() { await this.stop().catch(() => {}); rmSync(this.folder, { recursive: true, force: true }); }
  async cli(...words) { return (await run(BINARY, words, { env: this.env })).stdout; }
  memory() {
    const text = readFileSync(`/proc/${this.process.pid}/smaps_rollup`, 'utf8');
    return Number(/^Pss:\s+(\d+)/m.exec(text)[1]);
  }
}

let browser;
export async function chrome() {
  browser ??= await chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage'],
  });
  return browser;
}
export const shut = async () => { await browser?.close(); };

/** A visitor's page: its own cookies, and whatever went wrong in it. */
export async function visitor(daemon, options = {}) {
  const context = await (await chrome()).newContext({ viewport: { width: 1100, height: 760 }, locale: 'en-GB', ...options });
  const page = await context.newPage();
  page.wrong = [];
  page.on('pageerror', error => page.wrong.push('error: ' + error.message));
  page.on('console', message => { if (message.type() === 'error' && !/Failed to load resource|ERR_CONNECTION|ERR_INCOMPLETE|ERR_EMPTY/.test(message.text())) page.wrong.push('console: ' + message.text()); });
  page.on('dialog', dialog => { if (dialog.type() === 'alert') page.wrong.push('alert: ' + dialog.message()); dialog.accept(); });
  page.on('request', request => { if (!request.url().startsWith(daemon.base) && !/^(blob|data):/.test(request.url())) page.wrong.push('foreign request: ' + request.url()); });
  await page.goto(daemon.base + '/' + (options.hash || ''));
  return page;
}

/** Enters by the door. */
export async function enter(page, name, pin) {
  await page.fill('#name', name);
  if (pin !== undefined) await page.fill('#pin', pin);
  await page.click('#enter button[type=submit]');
  await page.waitForSelector('#app:not([hidden])');
  await until('the page is connected', () => page.evaluate(() => document.querySelector('#link-state').textContent.length > 0 && document.querySelector('#offline').hidden));
  return page;
}

export const open = (page, name) => page.click(`#list .item[data-key="${name.toLowerCase()}"]`);
export async function say(page, text) { await page.fill('#text', text); await page.press('#text', 'Enter'); }
export const texts = page => page.$$eval('#log .msg .bubble', all => all.map(e => e.textContent));
export const shot = (page, name) => page.screenshot({ path: `${SHOTS}/${name}.png` });
