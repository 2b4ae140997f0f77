// Durations as kubectl prints them: two units at most, coarser with age.

export const NONE = '<none>';
export const UNKNOWN = '<unknown>';

/** Age of an RFC 3339 time, `<unknown>` without one. */
export function ageSince(time: string | undefined, nowMs: number): string {
  const then = Date.parse(time ?? '');
  return Number.isNaN(then) ? UNKNOWN : humanDuration(nowMs - then);
}

/** `5s`, `3m20s`, `12m`, `5h10m`, `10h`, `3d4h`, `12d`, `3y40d`; a clock that runs behind by a second or two is `0s`. */
export function humanDuration(ms: number): string {
  const seconds = Math.trunc(ms / 1000);
  if (seconds < -1) return '<invalid>';
  if (seconds < 0) return '0s';
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.trunc(seconds / 60);
  if (minutes < 10) return withRest(minutes, 'm', seconds % 60, 's');
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.trunc(minutes / 60);
  if (hours < 8) return withRest(hours, 'h', minutes % 60, 'm');
  if (hours < 48) return `${hours}h`;
  const days = Math.trunc(hours / 24);
  if (hours < 192) return withRest(days, 'd', hours % 24, 'h');
  if (days < 730) return `${days}d`;
  const years = Math.trunc(days / 365);
  return days < 2920 ? withRest(years, 'y', days % 365, 'd') : `${years}y`;
}

function withRest(amount: number, unit: string, rest: number, restUnit: string): string {
  return rest === 0 ? `${amount}${unit}` : `${amount}${unit}${rest}${restUnit}`;
}
