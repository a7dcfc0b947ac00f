import { ApiMisuse } from '../bytes/errors.ts';
import { type DerReader, DerTag } from './der.ts';
import { element } from './der-writer.ts';

/** A Time of RFC 5280 §4.1.2.5 as milliseconds since 1970-01-01T00:00Z. */
export function readTime(reader: DerReader, field: string): number {
  const generalized = reader.nextIs(DerTag.GENERALIZED_TIME);
  const at = reader.read(generalized ? DerTag.GENERALIZED_TIME : DerTag.UTC_TIME, field);
  const text = String.fromCharCode(...at.subarray(0, 32));
  // RFC 5280 §4.1.2.5.1, §4.1.2.5.2: seconds are there, fractions are not, and it ends in Z.
  if (!(generalized ? /^\d{14}Z$/ : /^\d{12}Z$/).test(text)) throw reader.malformed(`${field} is not a time`, field);
  const shift = generalized ? 2 : 0;
  const two = (index: number) => Number(text.slice(index, index + 2));
  const short = two(0);
  const year = generalized ? short * 100 + two(2) : short + (short >= 50 ? 1900 : 2000);
  const [month, day, hour, minute, second] = [2, 4, 6, 8, 10].map((index) => two(index + shift)) as [
    number,
    number,
    number,
    number,
    number,
  ];
  if (month < 1 || month > 12 || day < 1 || day > daysInMonth(year, month) || hour > 23 || minute > 59 || second > 59) {
    throw reader.malformed(`${field} is not a time`, field);
  }
  return (daysFromCivil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second) * 1000;
}

/** RFC 5280 §4.1.2.5: UTCTime until 2049, GeneralizedTime from 2050 on. */
export function writeTime(at: number): Uint8Array {
  const { year, month, day, hour, minute, second } = civil(at);
  if (year < 1950 || year > 9999) throw new ApiMisuse(`a certificate cannot express the year ${year}`, { code: 'YEAR_OUT_OF_RANGE' });
  const short = year < 2050;
  const text = `${short ? pad(year % 100) : year}${pad(month)}${pad(day)}${pad(hour)}${pad(minute)}${pad(second)}Z`;
  return element(
    short ? DerTag.UTC_TIME : DerTag.GENERALIZED_TIME,
    Uint8Array.from(text, (c) => c.charCodeAt(0)),
  );
}

/** `2026-03-01 12:00 UTC`. */
export function formatTime(at: number): string {
  const { year, month, day, hour, minute } = civil(at);
  return `${String(year).padStart(4, '0')}-${pad(month)}-${pad(day)} ${pad(hour)}:${pad(minute)} UTC`;
}

/** Whole days from one time to another, towards zero. */
export const daysBetween = (from: number, to: number): number => Math.trunc((to - from) / DAY);

export const DAY = 86_400_000;

interface Civil {
  readonly year: number;
  readonly month: number;
  readonly day: number;
  readonly hour: number;
  readonly minute: number;
  readonly second: number;
}

function civil(at: number): Civil {
  const seconds = Math.floor(at / 1000);
  const days = Math.floor(seconds / 86_400);
  const ofDay = seconds - days * 86_400;
  // Proleptic Gregorian calendar in eras of 400 years that begin on a 1st of March.
  const shifted = days + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const fromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  const month = fromMarch < 10 ? fromMarch + 3 : fromMarch - 9;
  return {
    year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0),
    month,
    day: dayOfYear - Math.floor((153 * fromMarch + 2) / 5) + 1,
    hour: Math.floor(ofDay / 3600),
    minute: Math.floor(ofDay / 60) % 60,
    second: ofDay % 60,
  };
}

function daysFromCivil(year: number, month: number, day: number): number {
  const shifted = month <= 2 ? year - 1 : year;
  const era = Math.floor(shifted / 400);
  const yearOfEra = shifted - era * 400;
  const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + day - 1;
  return era * 146_097 + yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear - 719_468;
}

const pad = (value: number): string => String(value).padStart(2, '0');

function daysInMonth(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}
