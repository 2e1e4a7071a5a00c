/** Formats numbers and times for people. */

const count = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const clockTime = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' });

/** @param {number} value */
export function formatCount(value) {
  return count.format(value);
}

/** A rate: one decimal while it is small. @param {number} value */
export function formatRate(value) {
  return value >= 100 ? count.format(value) : value.toFixed(value >= 10 || value === 0 ? 0 : 1);
}

/** A measured time: `0`, `12 ms`, `1.2 s`, `45 s`, `2 min 05 s`. @param {number} ms */
export function formatTime(ms) {
  if (ms < 0.5) return '0';
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 9_950) return `${(ms / 1000).toFixed(1)} s`;
  return formatSeconds(Math.round(ms / 1000));
}

/** A remaining time, in whole seconds that are never too few: `4 s`, `2 min 05 s`. @param {number} ms */
export function formatSpan(ms) {
  return formatSeconds(Math.max(1, Math.ceil(ms / 1000)));
}

/** How long something lasts until now, in seconds that have passed. @param {number} ms */
export function formatElapsed(ms) {
  return ms < 1000 ? 'under 1 s' : formatSeconds(Math.floor(ms / 1000));
}

/** @param {number} seconds */
function formatSeconds(seconds) {
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${String(seconds % 60).padStart(2, '0')} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${String(minutes % 60).padStart(2, '0')} min`;
  return `${Math.round(hours / 24)} days`;
}

/** The local time of day. @param {string | number} at */
export function formatClock(at) {
  return clockTime.format(new Date(at));
}
