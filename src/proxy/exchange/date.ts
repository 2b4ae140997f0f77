// The value of Date, made once a second.

let madeFor = 0;
let text = '';

/** @param nowMs  Unix time; right to a second */
export function httpDate(nowMs: number): string {
  const second = Math.floor(nowMs / 1000);
  if (second !== madeFor) {
    madeFor = second;
    text = new Date(second * 1000).toUTCString();
  }
  return text;
}
