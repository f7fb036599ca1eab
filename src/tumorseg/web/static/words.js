/** Numbers and counts as people read them. */

const GROUPED = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });

/** 12345 as "12,345". */
export const whole = (number) => GROUPED.format(number);

/** With so many digits behind the point. */
export const fixed = (number, digits = 1) =>
  Number.isFinite(number) ? number.toLocaleString("en-GB", { minimumFractionDigits: digits, maximumFractionDigits: digits }) : "–";

/** "1 slice", "2 slices". */
export const count = (number, noun) => `${whole(number)} ${noun}${number === 1 ? "" : "s"}`;

/** 1536 as "1.5 kB". */
export function bytes(number) {
  const units = ["bytes", "kB", "MB", "GB"];
  let step = 0;
  while (number >= 1000 && step < units.length - 1) {
    number /= 1000;
    step += 1;
  }
  return `${fixed(number, step && number < 10 ? 1 : 0)} ${units[step]}`;
}

const SEQUENCES = { pre: "Pre-contrast", flair: "FLAIR", post: "Post-contrast", t1: "T1", t2: "T2", t1c: "T1 contrast" };

/** What a channel is called. */
export const sequence = (name) => SEQUENCES[name] ?? name;

/** The first letter as a capital. */
export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
