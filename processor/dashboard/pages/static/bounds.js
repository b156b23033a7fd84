// @ts-check
// From places on an axis to conditions of the filter language, and those into a filter that is there.

/**
 * An axis as the server says it; `at` is a part of it, from 0 (its low end) to 1. `levels` have a part and literals.
 * @typedef {{
 *   path: string, label: string, along: string, kind: string, log: boolean, also: string | null,
 *   low: number, high: number, first: number, last: number, levels: [number, string[]][]
 * }} Axis
 * @typedef {{ text: string, path: string, sign: string, value: number | null }} Term
 */

/** A bound moves by a hundredth of the band at the most when it is rounded. */
const GRAIN = 100;
/** Decimal places and digits with which a number is written without an exponent. */
const PLACES = 6;
const DIGITS = 15;

/**
 * @param {Element} element
 * @returns {Axis}
 */
export function axisOf(element) {
  const said = /** @type {SVGElement} */ (element).dataset;
  const [first, last] = [Number(said.first), Number(said.last)];
  const levels = /** @type {[number, string[]][]} */ (JSON.parse(said.levels ?? "[]"));
  return {
    path: said.path ?? "",
    label: said.label ?? "",
    along: said.along ?? "x",
    kind: said.kind ?? "number",
    log: said.log === "yes",
    also: said.also ?? null,
    low: Number(said.low),
    high: Number(said.high),
    first,
    last,
    levels: levels.map(([pixel, literals]) => [(pixel - first) / (last - first), literals]),
  };
}

/**
 * What the band from one part of the axis to another says; an end of the axis is no bound. Null: nothing is inside.
 * @param {Axis} axis
 * @param {number} from
 * @param {number} to
 * @returns {Term[] | null}
 */
export function termsOf(axis, from, to) {
  if (from <= 0 && to >= 1) return [];
  if (axis.kind === "level") {
    const literals = axis.levels.filter(([at]) => from <= at && at <= to).flatMap(([, texts]) => texts);
    if (literals.length === 0) return null;
    const text = literals.length === 1 ? `= ${literals[0]}` : `in (${literals.join(", ")})`;
    return [{ text: `${axis.path} ${text}`, path: axis.path, sign: "in", value: null }];
  }
  const [low, high] = boundsOf(axis, from, to);
  const found = [];
  if (from > 0) found.push(bound(axis, ">=", low));
  if (to < 1) found.push(bound(axis, "<=", high));
  return found;
}

/**
 * @param {Axis} axis
 * @param {string} sign
 * @param {string} text
 * @returns {Term}
 */
function bound(axis, sign, text) {
  const value = axis.kind === "time" ? Date.parse(text) / 1000 : Number(text);
  return { text: `${axis.path} ${sign} ${text}`, path: axis.path, sign, value };
}

/**
 * Both bounds of the band, written outward: what was inside of it is inside of them.
 * @param {Axis} axis
 * @param {number} from
 * @param {number} to
 */
function boundsOf(axis, from, to) {
  const [low, high] = [valueAt(axis, from), valueAt(axis, to)];
  const grain = high / GRAIN - low / GRAIN;
  if (axis.kind === "time") return [moment(low, grain, Math.floor), moment(high, grain, Math.ceil)];
  const [below, above] = axis.log ? [low / GRAIN, high / GRAIN] : [grain, grain];
  const [least, most] = [Math.ceil(low), Math.floor(high)];
  const whole = axis.kind === "whole" && least <= most;
  return [
    whole && below < 1 ? outward(least, 1, false) : outward(low, below, false),
    whole && above < 1 ? outward(most, 1, true) : outward(high, above, true),
  ];
}

/**
 * @param {Axis} axis
 * @param {number} part
 */
function valueAt(axis, part) {
  const value = axis.low * (1 - part) + axis.high * part;
  return axis.log ? Math.min(10 ** value, Number.MAX_VALUE) : value;
}

/**
 * A decimal not above `value` (`up`: not below), whose last digit counts no more than `grain`.
 * @param {number} value
 * @param {number} grain
 * @param {boolean} up
 */
export function outward(value, grain, up) {
  if (value === 0) return "0";
  const last = Math.floor(Math.log10(grain));
  const digits = Math.min(17, Math.floor(Math.log10(Math.abs(value))) - last + 1);
  if (!(digits >= 1)) return up === value > 0 ? written(up ? 1n : -1n, last) : "0";
  const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
  // 9.99 of two digits is 10, whose last one counts ten times as much: it gets one more
  const carried = digits < 17 && Number(exponent) - digits + 1 > last;
  const unit = Number(exponent) - digits + (carried ? 0 : 1);
  const nearest = BigInt(mantissa.replace(".", "")) * (carried ? 10n : 1n);
  const text = written(nearest, unit);
  if (up ? Number(text) >= value : Number(text) <= value) return text;
  return written(nearest + (up ? 1n : -1n), unit);
}

/**
 * `mantissa` times ten to the power of `exponent`, as short as can be.
 * @param {bigint} mantissa
 * @param {number} exponent
 */
function written(mantissa, exponent) {
  while (mantissa !== 0n && mantissa % 10n === 0n) {
    mantissa /= 10n;
    exponent += 1;
  }
  const [sign, digits] = mantissa < 0n ? ["-", String(-mantissa)] : ["", String(mantissa)];
  const point = digits.length + exponent;
  if (mantissa === 0n) return "0";
  if (exponent >= 0 && point <= DIGITS) return sign + digits + "0".repeat(exponent);
  if (exponent < 0 && point > 0) return `${sign}${digits.slice(0, point)}.${digits.slice(point)}`;
  if (exponent < 0 && point > -PLACES) return `${sign}0.${"0".repeat(-point)}${digits}`;
  return `${sign}${digits[0]}${digits.length > 1 ? `.${digits.slice(1)}` : ""}e${point - 1}`;
}

/**
 * @param {number} seconds
 * @param {number} grain
 * @param {(value: number) => number} round
 */
function moment(seconds, grain, round) {
  const unit = grain >= 1 ? 1000 : 1;
  return new Date(round((seconds * 1000) / unit) * unit).toISOString().replace(".000Z", "Z");
}

/**
 * The filter of `held`, as the server has read it, and of what is new: of two bounds on the same side of a path the
 * narrower one is left, and a choice of levels takes the place of the one before. Null: that is what is there.
 * @param {Term[]} held
 * @param {Term[]} added
 * @param {string[]} also
 * @returns {string | null}
 */
export function joined(held, added, also) {
  const fresh = added.filter((one) => !held.some((other) => narrower(other, one)));
  if (fresh.length === 0) return null;
  const kept = held.filter((other) => !fresh.some((one) => replaces(one, other))).map((one) => one.text);
  const needed = also.filter((text, at) => !kept.includes(text) && also.indexOf(text) === at);
  return [...kept, ...needed, ...fresh.map((one) => one.text)].join(" and ");
}

/**
 * @param {Term} other
 * @param {Term} one
 */
function narrower(other, one) {
  if (other.value === null || one.value === null || !alike(other, one)) return other.text === one.text;
  return one.sign === ">=" ? other.value >= one.value : other.value <= one.value;
}

/**
 * @param {Term} one
 * @param {Term} other
 */
function replaces(one, other) {
  if (one.sign === "in") return other.path === one.path && ["=", "in"].includes(other.sign);
  return other.value !== null && alike(one, other);
}

/**
 * @param {Term} one
 * @param {Term} other
 */
function alike(one, other) {
  return one.path === other.path && one.sign[0] === other.sign[0] && "<>".includes(one.sign[0]);
}
