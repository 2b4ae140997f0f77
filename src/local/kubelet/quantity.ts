// Kubernetes quantities (`500m`, `1.5`, `64Mi`, `1e3`) as numbers, as far as resource fields need them. Pure.

const FACTORS: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/** Undefined when the text is no quantity. */
export function parseQuantity(text: string | number): number | undefined {
  const match = /^([+-]?[0-9]*\.?[0-9]+)(?:[eE]([+-]?[0-9]+)|([A-Za-z]*))$/.exec(String(text).trim());
  if (match === null) return undefined;
  const factor = match[2] === undefined ? FACTORS[match[3] ?? ''] : 10 ** Number(match[2]);
  return factor === undefined ? undefined : Number(match[1]) * factor;
}

/** How often `divisor` goes into the quantity, rounded up: what `resourceFieldRef` gives. */
export function dividedQuantity(quantity: number, divisor: string | number | undefined): string {
  const parsed = divisor === undefined ? undefined : parseQuantity(divisor);
  const unit = parsed === undefined || parsed === 0 ? 1 : parsed;
  const result = quantity / unit;
  // A thousandth of a core is not exact in binary: a hair above a whole number is that number.
  return String(Math.abs(result - Math.round(result)) < 1e-6 ? Math.round(result) : Math.ceil(result));
}
