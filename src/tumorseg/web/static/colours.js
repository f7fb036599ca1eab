/** Colours of outlines and maps; the maps are perceptually uniform and read by the colour-blind (cividis, magma). */

const CIVIDIS = "00224e 002e6a 1a386f 32436d 434e6c 535a6d 61656f 6f7073 7d7c78 8b8778 9a9376 aaa073 bbad6d ccba64 ddc858 efd748 fee838";
const MAGMA = "000004 0a0822 1d1147 36106b 51127c 6a1c81 832681 9c2e7f b73779 cf4070 e55064 f4695c fb8761 fea571 fec287 fde0a1 fcfdbf";

/** Lines, as in the reports: the reference solid and blue, the prediction orange, dashed where both are drawn. */
export const LINES = { predicted: "#f5a800", reference: "#56b4e9", edited: "#3ddbb0" };

/** Of several classes, in their order (Okabe and Ito 2008). */
export const CLASSES = ["#f5a800", "#e78ac3", "#4fd1a1", "#f0e442", "#ff7f50", "#b8a1ff"];

/** Colours of the values 0 to 255, as [red, green, blue] one after the other. */
export const MAPS = { probability: table(CIVIDIS), uncertainty: table(MAGMA) };

/** Of an 8-bit probability, its binary entropy in bits, as 0 to 255. */
export const ENTROPY = Uint8Array.from({ length: 256 }, (_, value) => {
  const p = value / 255;
  return value === 0 || value === 255 ? 0 : Math.round(-255 * (p * Math.log2(p) + (1 - p) * Math.log2(1 - p)));
});

/** Below this a map is not drawn, so that the scan can be seen. */
export const UNSEEN = 8;

function table(words) {
  const stops = words.split(" ").map((word) => [0, 2, 4].map((place) => parseInt(word.slice(place, place + 2), 16)));
  const colours = new Uint8Array(256 * 3);
  for (let value = 0; value < 256; value += 1) {
    const at = (value / 255) * (stops.length - 1);
    const low = Math.min(Math.floor(at), stops.length - 2);
    for (let part = 0; part < 3; part += 1) {
      colours[value * 3 + part] = Math.round(stops[low][part] + (stops[low + 1][part] - stops[low][part]) * (at - low));
    }
  }
  return colours;
}
