import { encryption } from '../../core/crypto/transforms.ts';
import type { ChildLifetimes, ChildPolicy } from '../../core/ike/policy.ts';
import { ProtocolId, SequenceNumbersId, TransformType } from '../../core/wire/iana.ts';
import { MOST_SELECTORS } from '../../core/wire/payloads/ts.ts';
import type { Proposal } from '../../core/wire/payloads/types.ts';
import type { CompileContext } from './compile-context.ts';
import { compilePackets } from './compile-packets.ts';
import { DEFAULTS } from './defaults.ts';
import { parseProposals } from './proposals.ts';
import type { ChildSettings, ConnectionSettings } from './schema.ts';
import { type SelectorSetting, toTrafficSelector } from './selectors.ts';
import type { Path } from './source.ts';

export function compileChild(
  name: string,
  child: ChildSettings,
  path: Path,
  connection: ConnectionSettings,
  context: CompileContext,
): ChildPolicy {
  const legacy = connection.legacy ?? false;
  const mode = child.mode ?? 'tunnel';
  if (mode !== 'tunnel' && mode !== 'transport')
    throw context.error(
      [...path, 'mode'],
      `mode: ${mode} is not carried out`,
      'Use tunnel, transport, pass or drop.',
      'CONFIG_UNSUPPORTED',
    );
  const replayWindow = child.replay_window ?? DEFAULTS.replayWindow;
  const proposals = childProposals(child, path, legacy, context);
  checkCount(child, path, context);
  checkFamilies(child, path, context);
  const packets = compilePackets(child, path, connection, context);
  if (child.sha256_96 === true)
    context.warn(
      [...path, 'sha256_96'],
      'packets of a peer that keeps to RFC 4868 are dropped where sha256 is negotiated',
      'Leave it out unless nothing else gets through.',
    );
  return {
    name,
    mode,
    proposals: replayWindow === 0 ? withoutEsn(proposals, path, context) : proposals,
    localTs: selectors(child.local_ts),
    remoteTs: selectors(child.remote_ts),
    ...(child.narrow === false ? { narrow: false } : {}),
    ...(child.single_pair === true ? { singlePair: true } : {}),
    pfs: pfs(child, proposals, path, context),
    lifetimes: childLifetimes(child, proposals, path, context),
    inactivity: child.inactivity ?? 0,
    ...(child.sha256_96 === true ? { sha256_96: true } : {}),
    replayWindow,
    ...(packets && { packets }),
    startAction: child.start_action ?? 'none',
    closeAction: child.close_action ?? 'none',
    dpdAction: child.dpd_action === 'restart' ? 'start' : (child.dpd_action ?? 'clear'),
  };
}

function childProposals(child: ChildSettings, path: Path, legacy: boolean, context: CompileContext): readonly Proposal[] {
  if (child.ah_proposals === undefined)
    return context.proposals([...path, 'esp_proposals'], parseProposals(child.esp_proposals ?? ['default'], 'ESP', legacy));
  if (child.esp_proposals !== undefined)
    throw context.error(
      [...path, 'ah_proposals'],
      'a child is protected by ESP or by AH, not by both',
      'Leave one of esp_proposals and ah_proposals.',
    );
  context.warn([...path, 'ah_proposals'], 'AH leaves traffic readable to everybody on the way');
  return context.proposals([...path, 'ah_proposals'], parseProposals(child.ah_proposals, 'AH', legacy));
}

function pfs(child: ChildSettings, proposals: readonly Proposal[], path: Path, context: CompileContext): ChildPolicy['pfs'] {
  const wanted = child.pfs ?? 'prefer';
  if (wanted === 'require' && !proposals.every((p) => p.transforms.some((t) => t.type === TransformType.KE && t.id !== 0))) {
    const key = proposals[0]?.protocol === ProtocolId.AH ? 'ah_proposals' : 'esp_proposals';
    throw context.error(
      [...path, 'pfs'],
      `require needs a key exchange method in every proposal of ${key}`,
      'Write for instance aes256gcm16-x25519.',
    );
  }
  return wanted;
}

/** RFC 4303 §3.3.3: without a replay check the receiver cannot follow the high half of a 64-bit sequence number. */
function withoutEsn(proposals: readonly Proposal[], path: Path, context: CompileContext): Proposal[] {
  return proposals.map((proposal) => {
    const transforms = proposal.transforms.filter((t) => t.type !== TransformType.ESN || t.id !== SequenceNumbersId.ESN);
    if (!transforms.some((t) => t.type === TransformType.ESN))
      throw context.error(
        [...path, 'replay_window'],
        '0 does not go with extended sequence numbers',
        'Write noesn in the proposals, or leave the window on.',
      );
    return { ...proposal, transforms };
  });
}

function selectors(settings: readonly SelectorSetting[] | undefined): ChildPolicy['localTs'] {
  return (settings ?? [ANY_DYNAMIC]).map((selector) => {
    const { addresses } = selector;
    if (addresses !== 'dynamic') return toTrafficSelector({ ...selector, addresses });
    const { protocol, startPort, endPort } = selector;
    return protocol === 0 && startPort === 0 && endPort === 0xffff ? 'dynamic' : { dynamic: true, protocol, startPort, endPort };
  });
}

/** What does not fit one payload cannot be proposed. */
function checkCount(child: ChildSettings, path: Path, context: CompileContext): void {
  for (const side of ['local_ts', 'remote_ts'] as const) {
    const count = child[side]?.length ?? 0;
    if (count > MOST_SELECTORS)
      throw context.error(
        [...path, side],
        `has ${count} traffic selectors, and one CHILD_SA takes ${MOST_SELECTORS} at most (RFC 7296 §3.13)`,
        'Write neighbouring networks as one range, or make several children of it.',
      );
  }
}

/** No packet has one IPv4 and one IPv6 address. */
function checkFamilies(child: ChildSettings, path: Path, context: CompileContext): void {
  const families = (settings: readonly SelectorSetting[] = [ANY_DYNAMIC]) =>
    new Set(settings.flatMap(({ addresses }) => (addresses === 'dynamic' ? [4, 6] : [addresses.family])));
  const remote = families(child.remote_ts);
  if (![...families(child.local_ts)].some((family) => remote.has(family))) {
    throw context.error(
      [...path, 'remote_ts'],
      'local_ts and remote_ts have no address family in common, so no packet fits both',
      'Give both ends IPv4, or both IPv6, or both of them both.',
    );
  }
}

function childLifetimes(child: ChildSettings, proposals: readonly Proposal[], path: Path, context: CompileContext): ChildLifetimes {
  const rekey = child.rekey_time ?? DEFAULTS.childRekey;
  const rekeyBytes = child.rekey_bytes ?? (proposals.some(hasSmallBlocks) ? DEFAULTS.smallBlockRekeyBytes : DEFAULTS.rekeyBytes);
  const rekeyPackets = child.rekey_packets ?? DEFAULTS.rekeyPackets;
  const jitter = (soft: number, given: number | undefined, of: 'time' | 'bytes' | 'packets'): number => {
    const random = given ?? Math.round(soft * DEFAULTS.margin);
    if (soft > 0 && random >= soft)
      throw context.error(
        [...path, `rand_${of}`],
        `is not ${of === 'time' ? 'shorter' : 'less'} than rekey_${of}`,
        'A tenth of it is usual.',
      );
    return random;
  };
  return {
    rekey,
    jitter: jitter(rekey, child.rand_time, 'time'),
    hard: hardLimit(rekey, child.life_time, [...path, 'life_time'], 'rekey_time', context),
    rekeyBytes,
    hardBytes: hardLimit(rekeyBytes, child.life_bytes, [...path, 'life_bytes'], 'rekey_bytes', context),
    rekeyPackets,
    hardPackets: hardLimit(rekeyPackets, child.life_packets, [...path, 'life_packets'], 'rekey_packets', context),
    jitterBytes: jitter(rekeyBytes, child.rand_bytes, 'bytes'),
    jitterPackets: jitter(rekeyPackets, child.rand_packets, 'packets'),
  };
}

function hardLimit(soft: number, given: number | undefined, path: Path, softName: string, context: CompileContext): number {
  const hard = given ?? Math.round(soft * (1 + DEFAULTS.margin));
  if (hard > 0 && hard <= soft)
    throw context.error(
      path,
      `is not more than ${softName}: the child would end before it can be rekeyed`,
      `Leave it out: 110 % of ${softName} is what it is then.`,
    );
  return hard;
}

const hasSmallBlocks = ({ transforms }: Proposal): boolean =>
  transforms.some((t) => t.type === TransformType.ENCR && encryption(t.id)?.blockLength === 8);

const ANY_DYNAMIC: SelectorSetting = { addresses: 'dynamic', protocol: 0, startPort: 0, endPort: 0xffff };
