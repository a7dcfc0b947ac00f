/** EAP Codes (RFC 3748 §4, RFC 6696). */
export const EapCode = {
  REQUEST: 1,
  RESPONSE: 2,
  SUCCESS: 3,
  FAILURE: 4,
  INITIATE: 5,
  FINISH: 6,
} as const;

/** EAP Method Types. */
export const EapType = {
  IDENTITY: 1,
  NOTIFICATION: 2,
  NAK: 3,
  MD5: 4,
  OTP: 5,
  GTC: 6,
  TLS: 13,
  LEAP: 17,
  SIM: 18,
  TTLS: 21,
  AKA: 23,
  PEAP: 25,
  MSCHAPV2: 26,
  EXTENSIONS: 33,
  FAST: 43,
  PAX: 46,
  PSK: 47,
  SAKE: 48,
  IKEV2: 49,
  AKA_PRIME: 50,
  GPSK: 51,
  PWD: 52,
  EKE: 53,
  TEAP: 55,
  EXPANDED: 254,
  EXPERIMENTAL: 255,
} as const;
