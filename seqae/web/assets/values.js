// Values: columns of numbers, and numbers as people read them.

const PAYLOAD = JSON.parse(document.getElementById("payload").textContent);
const API = document.querySelector('meta[name="seqae-api"]').content;

const ARRAYS = { float32: Float32Array, uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array };
const HIGHEST = { uint8: 255, uint16: 65535, uint32: 4294967295 };

// The numbers of a Column of payload.py, scaled where it says from where to where.
function numbers(column) {
  const bytes = Uint8Array.from(atob(column.data), (character) => character.charCodeAt(0));
  const array = new ARRAYS[column.dtype](bytes.buffer);
  const { low = null, high = null } = column;
  if (low === null || high === null) return array;
  const step = (high - low) / HIGHEST[column.dtype];
  return Float32Array.from(array, (value) => low + value * step);
}

function round(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en-US");
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString("en-US");
  if (size !== 0 && size < 1e-3) return value.toExponential(1).replace("-", "−");
  return String(Number(value.toPrecision(digits))).replace("-", "−");
}

function withUnit(value, unit) {
  if (!Number.isFinite(value)) return "–";
  if (unit === "%") return `${value.toFixed(1)} %`;
  return unit ? `${round(value)} ${unit}` : round(value);
}

const countOf = (number, one, many = `${one}s`) =>
  `${number.toLocaleString("en-US")} ${number === 1 ? one : many}`;

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
