// A new message makes itself known: two soft tones, where sound is on. The title says how many.

let context = null, last = 0;
export const sound = { on: true };

/** Someone wrote while nobody looked. */
export function notice() {
  if (!sound.on || Date.now() - last < 1500) return;
  last = Date.now();
  try {
    context ??= new AudioContext();
    if (context.state === 'suspended') context.resume();
    for (const [at, pitch] of [[0, 660], [0.12, 880]]) {
      const tone = context.createOscillator(), gain = context.createGain(), begin = context.currentTime + at;
      tone.frequency.value = pitch;
      gain.gain.setValueAtTime(0, begin);
      gain.gain.linearRampToValueAtTime(0.12, begin + 0.02);
      gain.gain.exponentialRampToValueAtTime(0.001, begin + 0.25);
      tone.connect(gain).connect(context.destination);
      tone.start(begin); tone.stop(begin + 0.26);
    }
  } catch { /* no sound here */ }
  navigator.vibrate?.(60);
}

/** It was looked at. */
export function noticed() { last = 0; }
