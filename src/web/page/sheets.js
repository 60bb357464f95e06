// The sheets over the page: a person's settings, and the invitation.

import { t, speak, lang } from './words.js';
import * as net from './net.js';
import { $, el, toast } from './view.js';
import { sound } from './notice.js';
import { state, kept, drawMe, drawList, drawLog, leave, room, rooms } from './app.js';

function settings() {
  $('set-name').value = state.me.handle;
  $('set-away').checked = state.me.away;
  $('set-auto').value = state.me.autoreply;
  $('set-note').textContent = '';
  $('set-theme').value = kept.get('theme') || '';
  $('set-lang').value = lang;
  $('settings').showModal();
}

async function doing(act, word) {
  $('set-note').textContent = '';
  try { await act(); if (word) toast(word); } catch (error) {
    if (error.code === 'HandleTaken') $('set-name').value = error.parameters.free;
    $('set-note').textContent = error.code === 'HandleTaken' ? t('nameTaken', error.parameters.free) : error.message || t('trouble');
  }
}

/** Makes the sheets work; called once. */
export function setUp() {
  sound.on = kept.get('sound') !== false;
  $('set-sound').checked = sound.on;
  $('me').addEventListener('click', settings);
  $('rename').addEventListener('click', () => doing(async () => {
    const { handle } = await net.call('SetHandle', { handle: $('set-name').value.trim().replace(/\s+/g, '-') });
    state.me.handle = handle; kept.set('name', handle); $('set-name').value = handle; drawMe();
  }, t('renamed')));
  $('set-name').addEventListener('keydown', e => { if (e.key === 'Enter') { e.preventDefault(); $('rename').click(); } });
  $('set-auto').addEventListener('keydown', e => { if (e.key === 'Enter') { e.preventDefault(); $('save-auto').click(); } });
  $('set-away').addEventListener('change', () => doing(async () => {
    await net.call('SetPresence', { away: $('set-away').checked });
    state.me.away = $('set-away').checked; drawMe();
  }));
  $('save-auto').addEventListener('click', () => doing(async () => {
    await net.call('SetAutoreply', { text: $('set-auto').value });
    state.me.autoreply = $('set-auto').value;
  }, t('saved')));
  $('set-sound').addEventListener('change', () => { sound.on = $('set-sound').checked; kept.set('sound', sound.on); });
  $('set-theme').addEventListener('change', () => {
    kept.set('theme', $('set-theme').value || null);
    if ($('set-theme').value) document.documentElement.dataset.theme = $('set-theme').value; else delete document.documentElement.dataset.theme;
  });
  $('set-lang').addEventListener('change', () => {
    kept.set('lang', $('set-lang').value);
    speak($('set-lang').value);
    const lobby = state.conversations.get('#lobby');
    if (lobby) lobby.title = t('lobby');
    drawMe(); drawList(); drawLog();
  });
  $('leave').addEventListener('click', () => { if (confirm(t('leaveSure'))) leave(); });
  $('invite').addEventListener('click', async () => {
    $('share').showModal();
    try {
      const { address } = await net.get('address');
      $('address').textContent = address;
      $('qr').src = '/qr.svg';
    } catch { $('address').textContent = location.origin; }
  });
  const enter = async name => {
    try { await room('RoomJoin', name); $('room').close(); } catch (error) { $('room-note').textContent = error.message || t('trouble'); }
  };
  $('rooms').addEventListener('click', async () => {
    await rooms();
    $('room-name').value = $('room-note').textContent = '';
    const others = [...state.rooms.values()].filter(r => !r.joined);
    $('room-list').replaceChildren(...others.map(r => el('div', { className: 'row' }, el('span', { className: 'who' }, el('strong', {}, r.room), el('small', {}, t('roomAbout', r.members.length))), el('button', { type: 'button', 'aria-label': t('join') + ' ' + r.room, onclick: () => enter(r.room) }, t('join')))));
    $('room').showModal();
  });
  $('join-room').addEventListener('click', () => enter($('room-name').value));
  $('room-name').addEventListener('keydown', e => { if (e.key === 'Enter') { e.preventDefault(); $('join-room').click(); } });
  $('leave-room').addEventListener('click', () => room('RoomLeave', state.open).catch(error => toast(error.message || t('trouble'))));
  for (const sheet of [$('settings'), $('share'), $('room')]) sheet.addEventListener('click', e => { if (e.target === sheet) sheet.close(); });
}
