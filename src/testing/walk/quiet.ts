import { toHex } from '../../core/bytes/index.ts';
import type { ChildSaInfo, IkeSaInfo } from '../../core/ike/index.ts';
import type { Line, Side, WalkWorld } from './world.ts';
import { LIMITS } from './world.ts';

/**
 * A time of quiet: whatever is broken is mended, nobody does anything, and within a bounded time both ends must be of one mind. What the
 * operator wants and did not survive is asked for again, and must come; then traffic must pass, and the books must balance.
 * @param steady also stays quiet for longer than any timer that could undo the agreement
 */
export function quiet(world: WalkWorld, steady: boolean): void {
  mend(world);
  if (!settle(world)) return;
  for (let attempt = 0; attempt < 2 && restoreWanted(world); attempt++) if (!settle(world)) return;
  if (restoreWanted(world)) return world.ledger.break('agreed', `what the operator asked for twice does not come: ${describe(world)}`);
  if (steady) {
    world.run(STEADY);
    if (!settle(world)) return;
  }
  takeStock(world);
  if (world.ledger.broken !== undefined) return;
  probe(world);
  checkBooks(world);
}

/** Every link is as it was at first. */
export function mend(world: WalkWorld): void {
  world.internet.core.heal();
  for (const { peer, nat } of world.sides) {
    const { link } = world.setting;
    const good = { loss: 0, duplicate: 0, cut: false, jitter: link.jitter ?? 0, delay: link.delay ?? 0 };
    peer.host.setLink(good);
    nat?.setLink({ loss: 0, duplicate: 0, cut: false });
    peer.clearFaults();
  }
}

/** Lets time run until both ends agree. @returns false when they do not within the bound. */
function settle(world: WalkWorld): boolean {
  if (converges(world)) return true;
  if (world.ledger.broken === undefined && renewOutdated(world) && converges(world)) return true;
  world.ledger.break('agreed', `${disagreement(world)}, ${WITHIN / 60_000} minutes after quiet: ${describe(world)}`);
  return false;
}

function converges(world: WalkWorld): boolean {
  const end = world.now + WITHIN;
  world.run(Math.max(0, ...world.lines.map(({ doubtfulUntil }) => doubtfulUntil - world.now)));
  for (let wait = ROUND_TRIP; world.now < end; wait = Math.min(wait * 1.25, 10_000)) {
    const before = world.ledger.recorded;
    world.run(wait);
    if (world.ledger.broken !== undefined) return false;
    // what is under way may still change minds
    if (world.ledger.recorded === before && disagreement(world) === undefined) return true;
  }
  return false;
}

/**
 * Who came back with an old memory may have missed one exchange and be in step again with the next: RFC 7296 knows no way to notice what it
 * lacks (RFC 6311 §3 has one for clusters). Whoever put the old memory there begins anew. @returns whether there was such a line
 */
function renewOutdated(world: WalkWorld): boolean {
  const lines = world.lines.filter(({ outdated }) => outdated.size > 0);
  world.excuse(lines, 'whoever put an old memory there began anew');
  for (const line of lines) {
    const name = line.setting.hubConnection.name;
    for (const sa of line.hub.peer.ikeSas) if (sa.connection === name) line.hub.peer.deleteIke(sa.id);
    for (const sa of line.client.peer.ikeSas) line.client.peer.deleteIke(sa.id);
    line.outdated = new Set();
  }
  return lines.length > 0;
}

/** What is not as it should be when nothing is under way. */
function disagreement(world: WalkWorld): string | undefined {
  for (const { name, peer } of world.sides) {
    const { requests, asks, jobs } = peer.endpoint.load();
    if (requests + asks + jobs > 0) return `${name} waits for an answer`;
  }
  const ends = world.sides.map(({ name, peer }) => ({ name, sas: standing(peer.ikeSas) }));
  for (const { name, sas } of ends) {
    for (const sa of sas) {
      if (sa.state !== 'established') return `${name} has an IKE SA that is ${sa.state}`;
      const child = sa.children.find(({ state }) => state !== 'installed');
      if (child !== undefined) return `${name} has a CHILD_SA that is ${child.state}`;
    }
  }
  const [hub, ...clients] = ends;
  // RFC 7296 §2.4: whoever authenticates twice, or restarts in between, leaves it to the peer to find the older one superfluous
  const twice = clients.find(({ sas }) => sas.length > 1);
  if (twice) return `${twice.name} has ${twice.sas.length} IKE SAs to one peer`;
  const theirs = new Map(hub!.sas.map((sa) => [spis(sa), sa]));
  for (const { name, sas } of clients) {
    for (const sa of sas) {
      const other = theirs.get(spis(sa));
      if (other === undefined) return `${name} has an IKE SA that ${hub!.name} has not`;
      theirs.delete(spis(sa));
      if (pairs(sa.children, false) !== pairs(other.children, true)) return `${name} and ${hub!.name} hold different CHILD_SAs`;
    }
  }
  return theirs.size > 0 ? `${hub!.name} has an IKE SA that nobody else has` : undefined;
}

/** One that lingers only repeats its last answer. */
const standing = (sas: readonly IkeSaInfo[]): readonly IkeSaInfo[] => sas.filter(({ state }) => state !== 'lingering');

const spis = ({ spiI, spiR }: IkeSaInfo): string => toHex(spiI) + toHex(spiR);

const pairs = (children: readonly ChildSaInfo[], mirrored: boolean): string =>
  children
    .map(({ name, inboundSpi, outboundSpi }) => `${name} ${mirrored ? `${outboundSpi} ${inboundSpi}` : `${inboundSpi} ${outboundSpi}`}`)
    .sort()
    .join();

/** The operator sees what is missing and asks for it. @returns whether anything was. */
function restoreWanted(world: WalkWorld): boolean {
  let missing = false;
  for (const line of world.lines) {
    if (!line.wanted) continue;
    const [sa] = standing(line.client.peer.ikeSas);
    if (sa === undefined) line.client.peer.command({ kind: 'initiate', connection: 'hub' });
    const lacking = line.setting.children.filter((name) => !sa?.children.some((child) => child.name === name));
    if (sa !== undefined) for (const name of lacking) askChild(line, line.client, name, sa.id);
    missing ||= sa === undefined || lacking.length > 0;
  }
  return missing;
}

/** The operator of one end wants one more CHILD_SA. */
export function askChild(line: Line, side: Side, policy: string, ikeSa: number): void {
  allowOneMore(line, policy);
  side.peer.createChild(policy, ikeSa);
}

export function allowOneMore(line: Line, policy: string): void {
  const { stood, asked } = line.children.get(policy) ?? { stood: 0, asked: 0 };
  line.children.set(policy, { stood, asked: asked + 1 });
}

/** How many of everything stand now, and how many may. */
function takeStock(world: WalkWorld): void {
  for (const line of world.lines) {
    const sas = standing(line.client.peer.ikeSas);
    if (sas.length > 1) world.ledger.break('agreed', `${line.client.name} has ${sas.length} IKE SAs to one peer: ${describe(world)}`);
    if (!line.wanted && sas.length > 0) world.ledger.break('agreed', `${line.client.name} was brought down and is up: ${describe(world)}`);
    for (const policy of line.setting.children) {
      const stands = sas.flatMap((sa) => sa.children).filter(({ name }) => name === policy).length;
      const { stood, asked } = line.children.get(policy) ?? { stood: 0, asked: 0 };
      const most = Math.max(1, stood) + asked;
      if (stands > most)
        world.ledger.break('agreed', `${stands} CHILD_SAs of ${policy} stand where ${most} were asked for: ${describe(world)}`);
      // who authenticates anew takes each policy along once (RFC 7296 §2.8.3 names no number)
      const kept = line.setting.extensions?.has('reauth') ? Math.min(1, stood) : stood;
      if (line.excuse === undefined && stands < kept)
        world.ledger.break('usable', `of ${stood} CHILD_SAs of ${policy} ${stands} are left, and nobody deleted one: ${describe(world)}`);
      line.children.set(policy, { stood: stands, asked: 0 });
    }
    line.excuse = undefined;
    // §2.3: a window that lacks a request stands still some requests later; a rekeying begins with new ones
    line.outdated = new Set(sas.map(({ spiI }) => toHex(spiI)).filter((spi) => line.outdated.has(spi)));
    line.lossy = false;
    line.leakyUntil = 0;
    line.trustedFrom = world.now;
  }
}

/** One packet each way for every policy. */
function probe(world: WalkWorld): void {
  const both = ['client', 'hub'] as const;
  // a client behind a NAT shows first where it is
  for (const from of both) {
    for (const line of world.lines) for (const policy of line.setting.children) if (line.wanted) world.sendTraffic(line, from, policy, 8);
    world.run(1500);
  }
  world.run(1600);
  world.checkTraffic();
}

/** What was counted at one place must be found at the others. */
function checkBooks(world: WalkWorld): void {
  const { ledger, handed, sides } = world;
  const owe = (what: string, one: number, other: number): void => {
    if (one !== other) ledger.break('counted', `${what}: ${one} and ${other}`);
  };
  for (let tries = 0; tries < 40 && ledger.recorded > ledger.settled; tries++) world.run(127);
  owe('packets sent and packets whose fate is known', ledger.recorded, ledger.settled);
  let sealed = 0;
  let sealedOctets = 0;
  let openedOctets = 0;
  for (const { name, peer } of sides) {
    const totals = peer.plane.totals();
    sealed += totals.sealed;
    sealedOctets += totals.sealedOctets;
    openedOctets += totals.openedOctets;
    owe(`ESP packets that ${name} received, and those it opened or dropped`, peer.plane.received, totals.opened + totals.dropped);
    owe(`ESP packets that ${name} opened, and those it delivered or refused`, totals.opened, peer.plane.delivered + totals.refused);
    const onWire = world.placesOf(peer).reduce((sum, place) => sum + (ledger.espDelivered.get(place) ?? 0), 0);
    owe(`ESP packets that came to ${name}, and those its data plane saw`, onWire, peer.plane.received);
  }
  owe('ESP packets sealed and ESP packets handed to sockets', sealed, handed.taken + handed.refused);
  // RFC 4303 §3.4.3: a replay window that is older than a packet opens a copy of it once more
  const most = sealedOctets + world.openedAgain;
  if (openedOctets > most) ledger.break('counted', `${openedOctets} octets came out of ${most} that went in`);
  for (const { name, peer } of sides) {
    const children = peer.children.length;
    if (children !== peer.plane.size)
      ledger.break('counted', `${name} has ${children} CHILD_SAs in its core and ${peer.plane.size} in its data plane`);
  }
}

/** At every step, where there is anything new. */
export function checkBounds(world: WalkWorld): void {
  for (const side of world.sides) {
    if (side.checked === side.peer.turns) continue;
    side.checked = side.peer.turns;
    const load = side.peer.endpoint.load();
    const most = bounds(world, side, load);
    for (const what of BOUNDED) {
      const is = load[what];
      const limit = most[what];
      if (is > limit) world.ledger.break('bounded', `${side.name} keeps ${is} ${what}, more than ${limit}`);
    }
  }
}

function bounds(
  world: WalkWorld,
  side: Side,
  load: ReturnType<Side['peer']['endpoint']['load']>,
): Record<(typeof BOUNDED)[number], number> {
  const mine = world.linesOf(side);
  const lines = mine.length;
  let window = 1;
  for (const { setting } of mine) window = Math.max(window, setting.connection.windowSize ?? 1);
  return {
    halfOpen: LIMITS.halfOpen,
    ikeSas: LIMITS.halfOpen + MOST_IKE_SAS * lines,
    children: MOST_CHILDREN * lines,
    // retransmit, half-open, liveness, rekey, expire, linger, retry, and of extensions five more; rekey, expire, retire, take-over
    timers: 12 * load.ikeSas + 4 * load.children + load.asks + lines,
    // an IKE SA answers as many requests at a time as its window holds, and makes as many of its own
    asks: 2 * window * load.ikeSas + load.children,
    fragmentOctets: 65_535 * 2 * load.ikeSas,
  };
}

export function describe(world: WalkWorld): string {
  return world.sides
    .map(({ name, peer }) => {
      const sas = peer.ikeSas.map((sa) => {
        const children = sa.children.map(
          (child) => `${child.name} ${child.inboundSpi.toString(16)}/${child.outboundSpi.toString(16)} ${child.state}`,
        );
        return `${toHex(sa.spiI).slice(0, 8)}/${toHex(sa.spiR).slice(0, 8)} ${sa.connection ?? '?'} ${sa.state} [${children.join(', ')}]`;
      });
      return `${name}: ${sas.join('; ') || 'nothing'}`;
    })
    .join('. ');
}

const BOUNDED = ['halfOpen', 'ikeSas', 'children', 'timers', 'asks', 'fragmentOctets'] as const;
/** Clients of one walk line that may stand at once: one, the one before, rekeyings that cross, and attempts that nobody answers. */
const MOST_IKE_SAS = 12;
const MOST_CHILDREN = 24;
/** On links that are mended. */
const ROUND_TRIP = 700;
/** Silence is noticed and everything tried again well within. */
const WITHIN = 900_000;
/** Longer than the timers of LEAST_REPLACED_LIFE, PATIENCE and COPIES_WANDER in `core/ike`. */
const STEADY = 130_000;
