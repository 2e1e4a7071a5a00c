/** A duration for people: `0`, `83 ms`, `1.2 s`, `2m 05s`, `3h 07m`, `5d 02h`. */
export function readableDuration(ms: number): string {
  if (ms < 0.05) return '0';
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return pair(seconds, 60, 'm', 1, 's');
  if (seconds < 86_400) return pair(seconds, 3600, 'h', 60, 'm');
  return pair(seconds, 86_400, 'd', 3600, 'h');
}

function pair(seconds: number, big: number, bigUnit: string, small: number, smallUnit: string) {
  const rest = Math.floor((seconds % big) / small);
  return `${Math.floor(seconds / big)}${bigUnit} ${String(rest).padStart(2, '0')}${smallUnit}`;
}
