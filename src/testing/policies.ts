import { ApiMisuse, parseIp, utf8 } from '../core/bytes/index.ts';
import { parseKeyword } from '../core/crypto/index.ts';
import type { ChildPolicy, Connection, EndpointLimits } from '../core/ike/index.ts';
import {
  type AddressRangeSelector,
  type Identification,
  IdType,
  type Proposal,
  ProtocolId,
  TransformType,
  TsType,
} from '../core/wire/index.ts';

/** `aes128gcm16-prfsha256-x25519` as a proposal for an IKE SA. */
export const ikeProposal = (words: string): Proposal => proposal(ProtocolId.IKE, words);
/** `aes128gcm16-x25519-esn-noesn` as a proposal for ESP; without a word for it, no ESN. */
export const espProposal = (words: string): Proposal => proposal(ProtocolId.ESP, words);

export const fqdn = (name: string): Identification => ({ idType: IdType.ID_FQDN, data: utf8(name) });

/** `10.1.0.0/24`, `2001:db8:1::/64`, `10.1.0.7`: every protocol and port. */
export function subnet(text: string): AddressRangeSelector {
  const [ip, prefix] = text.split('/');
  const start = parseIp(ip!);
  const bits = prefix === undefined ? start.length * 8 : Number(prefix);
  const end = start.map((octet, i) => octet | (0xff >> Math.min(8, Math.max(0, bits - 8 * i))));
  return {
    type: start.length === 4 ? (TsType.TS_IPV4_ADDR_RANGE as 7) : (TsType.TS_IPV6_ADDR_RANGE as 8),
    protocol: 0,
    startPort: 0,
    endPort: 65_535,
    start,
    end,
  };
}

/** A child with the traffic `10.1.0.0/24` on the side of `a`, `10.2.0.0/24` on that of `b`; it never expires by itself. */
export const childPolicy = (changes: Partial<ChildPolicy> = {}): ChildPolicy => ({
  name: 'net',
  mode: 'tunnel',
  proposals: [espProposal('aes128gcm16-x25519-esn-noesn')],
  localTs: [subnet('10.1.0.0/24')],
  remoteTs: [subnet('10.2.0.0/24')],
  pfs: 'prefer',
  lifetimes: { rekey: 0, jitter: 0, hard: 0, rekeyBytes: 0, hardBytes: 0, rekeyPackets: 0, hardPackets: 0 },
  replayWindow: 1024,
  startAction: 'none',
  closeAction: 'none',
  dpdAction: 'clear',
  ...changes,
});

/** A connection with one child and a pre-shared key. Nothing in it happens by time alone but retransmission. */
export const connectionPolicy = (changes: Partial<Connection> = {}): Connection => ({
  name: 'net',
  localAddresses: ['%any'],
  remoteAddresses: ['%any'],
  remotePort: 500,
  remoteNatPort: 4500,
  proposals: [ikeProposal('aes128gcm16-prfsha256-x25519-ecp256')],
  local: [{ auth: 'psk', id: undefined }],
  remote: [{ auth: 'psk', id: { kind: 'any' } }],
  children: [childPolicy()],
  pools: [],
  virtualIps: [],
  fragmentation: 'yes',
  fragmentSize: 1280,
  encap: false,
  sendCert: 'always',
  sendCertreq: false,
  lifetimes: { rekey: 0, jitter: 0, hard: 0, reauth: 0 },
  liveness: { delay: 0 },
  retransmission: { initial: 1000, base: 1.8, giveUp: 60_000 },
  natKeepalive: 0,
  unique: 'replace',
  mobike: false,
  childless: 'allow',
  redirect: { follow: false, most: 5, within: 300_000 },
  resumption: false,
  crashDetection: false,
  ...changes,
});

/** The defaults of the product. */
export const DEFAULT_LIMITS: EndpointLimits = {
  cookieThreshold: 32,
  halfOpenPerAddress: 5,
  halfOpen: 256,
  halfOpenLife: 10_000,
  ikeSas: 1000,
};

function proposal(protocol: number, words: string): Proposal {
  const transforms = words.split('-').map((word) => {
    const found = parseKeyword(word);
    if (found === undefined) throw new ApiMisuse(`${word} is not a transform`);
    return found;
  });
  const needsEsn = protocol !== ProtocolId.IKE && !transforms.some((transform) => transform.type === TransformType.ESN);
  return {
    number: 1,
    protocol,
    spi: new Uint8Array(0),
    transforms: needsEsn ? [...transforms, { type: TransformType.ESN, id: 0 }] : transforms,
  };
}
