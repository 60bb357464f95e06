// The operator's page: what the node is doing, who its guests are, and what may be changed.

import { $, el, bytes } from './view.js';
import * as net from './net.js';

const say = text => { $('said').textContent = text; };
async function doing(act, word) { try { await act(); say(word || ''); await draw(); } catch (error) { say(error.message || 'No connection'); if (error.status === 401) door(); } }

async function door() {
  const { operator, set } = await net.get('operator');
  $('desk').hidden = !operator; $('door').hidden = operator;
  $('unset').hidden = set; $('enter').hidden = !set;
  if (operator) await draw(); else $('pin').focus();
}

const pair = (name, value) => [el('dt', {}, name), el('dd', {}, value)];
const button = (name, about, act, className) => el('button', { type: 'button', className: className || '', 'aria-label': name + ' ' + about, onclick: act }, name);
const rows = (id, list, none) => $(id).replaceChildren(...(list.length ? list : [el(id === 'guests' || id === 'peers' ? 'tr' : 'li', {}, el(id === 'guests' || id === 'peers' ? 'td' : 'span', { colSpan: 4 }, none))]));

async function draw() {
  const [status, guests, who, config, doctor] = await Promise.all([net.read('Status'), net.get('guests'), net.call('Who', { gone: true }), net.call('Config'), net.call('Doctor')]);
  const set = new Map(config.settings.map(s => [s.key, s]));
  $('version').textContent = status.version;
  const hours = Math.floor(status.uptime / 3600), minutes = Math.floor(status.uptime / 60) % 60;
  $('node').replaceChildren(...pair('Users', status.users.filter(u => !u.guest).map(u => u.handle).join(', ')), ...pair('Up', hours + ' h ' + minutes + ' min'),
    ...pair('Page', status.page || 'no address'), ...pair('Networks', status.links.map(l => l.name + ' ' + l.address).join(', ') || 'none'),
    ...pair('People here', String(status.peers)), ...status.dialects.flatMap(d => pair(d.name, (d.on ? 'on, port ' : 'off, port ') + d.port)),
    ...pair('Uploads', bytes(guests.uploads.bytes) + ' of ' + bytes(guests.uploads.quota)));
  const found = doctor.findings.filter(f => f.health !== 'ok').map(f => el('li', { className: f.health === 'wrong' ? 'bad' : '' }, f.check + ': ' + f.text + (f.advice ? ' → ' + f.advice : '')));
  rows('findings', found.concat(troubles.slice(-20).map(text => el('li', { className: 'bad' }, text))), 'Nothing is wrong.');
  $('open').checked = set.get('web.open')?.value === 'on';
  rows('guests', guests.guests.map(g => el('tr', {}, el('td', {}, g.handle), el('td', {}, g.address), el('td', {}, (g.here ? g.away ? 'away' : 'here' : 'gone') + (g.muted ? ', muted' : '')),
    el('td', {}, ...[g.muted ? 'unmute' : 'mute', 'kick', 'ban'].map(act => button(act[0].toUpperCase() + act.slice(1), g.handle, () => (act !== 'ban' || confirm('Ban ' + g.handle + ' and its address ' + g.address + '?')) && doing(() => net.post('guests/' + g.id, { act }), g.handle + ': ' + act)))))), 'No guests.');
  rows('banned', guests.banned.map(ip => el('li', {}, ip + ' ', button('Lift', ip, () => doing(() => net.del('bans/' + encodeURIComponent(ip)))))), 'None.');
  rows('peers', who.peers.filter(p => p.dialect[0] !== 'local').slice(0, 300).map(p => el('tr', {}, el('td', {}, p.name), el('td', {}, p.address + ':' + p.port + ' ' + p.dialect.join(', ')), el('td', {}, p.blocked ? 'blocked' : p.presence),
    el('td', {}, button(p.blocked ? 'Unblock' : 'Block', p.name, () => doing(() => net.call(p.blocked ? 'Unblock' : 'Block', { handle: p.blocked ? p.handle : p.name })))))), 'Nobody else.');
  rows('transfers', [...transfers.values()].slice(-20).map(t => el('li', { className: t.state === 'failed' ? 'bad' : '' }, (t.direction === 'in' ? 'from ' : 'to ') + t.handle + ': ' + t.name + ', ' + bytes(t.done) + (t.size ? ' of ' + bytes(t.size) : '') + ', ' + t.state + (t.reason ? ' (' + t.reason + ')' : ''))).concat(guests.uploads.running ? [el('li', {}, guests.uploads.running + ' uploads by guests')] : []), 'None.');
  if (!$('settings').contains(document.activeElement)) $('settings').replaceChildren(...config.settings.filter(s => s.live).map(setting));
}

function setting(s) {
  const id = 'set-' + s.key.replace(/\W/g, '-');
  const onoff = s.value === 'on' || s.value === 'off';
  const input = onoff ? el('select', { id }, el('option', { value: 'on', selected: s.value === 'on' }, 'on'), el('option', { value: 'off', selected: s.value === 'off' }, 'off'))
    : el('input', { id, value: s.value, type: /pin$/.test(s.key) ? 'password' : 'text', autocomplete: 'off', spellcheck: false });
  const save = value => doing(() => net.call('Config', { key: s.key, value }), s.key + ' is set');
  if (onoff) input.addEventListener('change', () => save(input.value));
  return el('div', {}, el('label', { htmlFor: id }, s.key, ' ', el('small', {}, s.help)),
    el('form', { onsubmit: e => { e.preventDefault(); save(input.value); } }, input, onoff ? null : el('button', { 'aria-label': 'Save ' + s.key }, 'Save')));
}

const troubles = [], transfers = new Map();
let soon;
const events = new net.Events(event => {
  if (event.kind === 'error') { troubles.push(event.text); if (troubles.length > 50) troubles.shift(); }
  if (event.kind === 'transfer') { transfers.set(event.id + event.peer, event); if (transfers.size > 50) transfers.delete(transfers.keys().next().value); }
  clearTimeout(soon);
  soon = setTimeout(() => { if (!$('desk').hidden) draw().catch(() => {}); }, 400);
}, state => { if (state === 'cut') say('No connection…'); if (state === 'open') say(''); });
// the operator is no guest: the way is tried again as long as the page is open
events.again = function () { this.close(); this.state('cut'); this.retry = setTimeout(() => this.open(), 2000); };

$('enter').addEventListener('submit', async e => {
  e.preventDefault();
  try { await net.post('operator', { pin: $('pin').value }); $('pin').value = ''; $('note').textContent = ''; await door(); events.open(); } catch (error) { $('note').textContent = error.message || 'No connection'; }
});
$('out').addEventListener('click', async () => { events.close(); await net.del('operator'); location.reload(); });
$('refresh').addEventListener('click', () => doing(async () => {}));
$('open').addEventListener('change', () => doing(() => net.call('Config', { key: 'web.open', value: $('open').checked ? 'on' : 'off' })));
$('restart').addEventListener('click', () => confirm('Restart the daemon?') && doing(() => net.post('restart', {}), 'It restarts…'));

await door();
if (!$('desk').hidden) events.open();
