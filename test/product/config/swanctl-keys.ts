/**
 * Every key that swanctl.conf knows, and where our configuration says the same. Sections named by the operator are `*`; `local*` stands
 * for `local`, `local-1`, …. A key without a place of ours has the reason.
 */
export type Mapping = { readonly ours: string; readonly how?: string } | { readonly reason: string };

const same = (keys: string, from: string, to: string): [string, Mapping][] =>
  keys.split(' ').map((key) => [`${from}.${key}`, { ours: `${to}.${key}` }]);
const CHILD = 'connections.*.children.*';

export const SWANCTL_KEYS: ReadonlyMap<string, Mapping> = new Map<string, Mapping>([
  ...same(
    'local_addrs remote_addrs remote_port proposals vips pools dscp encap mobike dpd_delay fragmentation childless send_certreq send_cert ppk_id ppk_required keyingtries unique reauth_time rekey_time over_time rand_time if_id_in if_id_out',
    'connections.*',
    'connections.*',
  ),
  ['connections.*.version', { reason: 'IKEv2 alone is spoken: 0 and 2 need no key, 1 cannot be met' }],
  ['connections.*.local_port', { ours: 'listen.port', how: 'one pair of sockets serves all connections' }],
  ['connections.*.aggressive', { reason: 'IKEv1 alone has it' }],
  ['connections.*.pull', { reason: 'IKEv1 alone has push mode' }],
  ['connections.*.dpd_timeout', { reason: 'IKEv1 alone has it; here retransmission.give_up says when a peer is dead' }],
  ['connections.*.mediation', { reason: 'the mediation extension is a draft that expired in 2009' }],
  ['connections.*.mediated_by', { reason: 'the mediation extension is a draft that expired in 2009' }],
  ['connections.*.mediation_peer', { reason: 'the mediation extension is a draft that expired in 2009' }],

  ...same('certs pubkeys auth id eap_id aaa_id', 'connections.*.local*', 'connections.*.local[]'),
  ['connections.*.local*.round', { ours: 'connections.*.local', how: 'the place in the list' }],
  ['connections.*.local*.xauth_id', { reason: 'IKEv1 alone has XAuth' }],
  ['connections.*.local*.cert*.file', { ours: 'connections.*.local[].certs' }],
  ...same('handle slot module', 'connections.*.local*.cert*', 'connections.*.local[].token'),

  ...same('id groups cert_policy certs cacerts pubkeys revocation auth eap_id ca_id', 'connections.*.remote*', 'connections.*.remote[]'),
  ['connections.*.remote*.round', { ours: 'connections.*.remote', how: 'the place in the list' }],
  ['connections.*.remote*.xauth_id', { reason: 'IKEv1 alone has XAuth' }],
  ['connections.*.remote*.cert*.file', { ours: 'connections.*.remote[].certs' }],
  ...same('handle slot module', 'connections.*.remote*.cert*', 'connections.*.remote[].token'),
  ['connections.*.remote*.cacert*.file', { ours: 'connections.*.remote[].cacerts' }],
  ...same('handle slot module', 'connections.*.remote*.cacert*', 'connections.*.remote[].token'),

  ...same(
    'ah_proposals esp_proposals local_ts remote_ts rekey_time life_time rand_time rekey_bytes life_bytes rand_bytes rekey_packets life_packets rand_packets updown hostaccess mode policies policies_fwd_out dpd_action ipcomp inactivity reqid priority interface mark_in mark_in_sa mark_out set_mark_in set_mark_out if_id_in if_id_out label label_mode tfc_padding replay_window sha256_96 per_cpu_sas hw_offload copy_df copy_ecn copy_dscp start_action close_action',
    CHILD,
    CHILD,
  ),
  [`${CHILD}.icmp`, { reason: 'no key of swanctl.conf; it occurs in a scenario and is ignored there' }],

  ['secrets.eap*.secret', { ours: 'secrets.*.secret', how: 'kind: eap' }],
  ['secrets.eap*.id*', { ours: 'secrets.*.ids' }],
  ['secrets.xauth*.secret', { ours: 'secrets.*.secret', how: 'kind: eap, of which it is another name' }],
  ['secrets.xauth*.id*', { ours: 'secrets.*.ids' }],
  ['secrets.ntlm*.secret', { ours: 'secrets.*.secret', how: 'kind: ntlm' }],
  ['secrets.ntlm*.id*', { ours: 'secrets.*.ids' }],
  ['secrets.ike*.secret', { ours: 'secrets.*.secret', how: 'kind: psk' }],
  ['secrets.ike*.id*', { ours: 'secrets.*.ids' }],
  ['secrets.ppk*.secret', { ours: 'secrets.*.secret', how: 'kind: ppk' }],
  ['secrets.ppk*.id*', { ours: 'secrets.*.ids' }],
  ...['private', 'rsa', 'ecdsa', 'pkcs8'].flatMap((kind): [string, Mapping][] => [
    [`secrets.${kind}*.file`, { ours: 'secrets.*.file', how: 'kind: private' }],
    [`secrets.${kind}*.secret`, { ours: 'secrets.*.secret', how: 'kind: private' }],
  ]),
  ['secrets.pkcs12*.file', { ours: 'secrets.*.file', how: 'kind: pkcs12' }],
  ['secrets.pkcs12*.secret', { ours: 'secrets.*.secret', how: 'kind: pkcs12' }],
  ['secrets.token*.handle', { ours: 'secrets.*.handle' }],
  ['secrets.token*.slot', { ours: 'secrets.*.slot' }],
  ['secrets.token*.module', { ours: 'secrets.*.module' }],
  ['secrets.token*.pin', { ours: 'secrets.*.secret', how: 'kind: token' }],

  ['pools.*.addrs', { ours: 'pools.*.addrs' }],
  ['pools.*.dns', { ours: 'pools.*.dns' }],
  ['pools.*.nbns', { ours: 'pools.*.nbns' }],
  ['pools.*.dhcp', { ours: 'pools.*.dhcp' }],
  ['pools.*.netmask', { ours: 'pools.*.netmask' }],
  ['pools.*.server', { ours: 'pools.*.attributes', how: 'under its number' }],
  ['pools.*.subnet', { ours: 'pools.*.split_include' }],
  ['pools.*.split_include', { ours: 'pools.*.split_include' }],
  ['pools.*.split_exclude', { ours: 'pools.*.split_exclude' }],
  ['pools.*.#', { ours: 'pools.*.attributes', how: 'under its number' }],

  ...same('cacert crl_uris ocsp_uris cert_uri_base', 'authorities.*', 'authorities.*'),
  ['authorities.*.file', { ours: 'authorities.*.cacert' }],
  ...['handle', 'slot', 'module'].map((key): [string, Mapping] => [
    `authorities.*.${key}`,
    { reason: 'authorities are read from files; a token keeps keys' },
  ]),
  ['include', { reason: 'YAML anchors share settings, and one file is read' }],
]);

/** The path of a key of swanctl.conf as the table has it. */
export function canonical(path: readonly string[]): string {
  const known = ['connections', 'secrets', 'pools', 'authorities', 'include'];
  // A section of another name at the top is a template that connections build on.
  if (!known.includes(path[0]!)) return canonical(['connections', ...path]);
  const [top, name, section, inner, last] = path;
  if (top === 'secrets' && path.length === 3) {
    const kind = ['eap', 'xauth', 'ntlm', 'ike', 'ppk', 'private', 'rsa', 'ecdsa', 'pkcs8', 'pkcs12', 'token']
      .filter((prefix) => name!.startsWith(prefix))
      .sort((a, b) => b.length - a.length)[0];
    return `secrets.${kind ?? '?'}*.${section!.startsWith('id') ? 'id*' : section}`;
  }
  if (top === 'pools' && path.length === 3) return `pools.*.${/^\d+$/.test(section!) ? '#' : section}`;
  if (top === 'connections' && path.length >= 4) {
    if (section === 'children') return [top, '*', 'children', '*', last].join('.');
    const side = section!.startsWith('local') ? 'local*' : section!.startsWith('remote') ? 'remote*' : section!;
    if (path.length === 4) return `connections.*.${side}.${inner}`;
    return `connections.*.${side}.${inner!.startsWith('cacert') ? 'cacert*' : 'cert*'}.${last}`;
  }
  return path.length > 2 ? [top, '*', ...path.slice(2)].join('.') : path.join('.');
}

/** Paths of all keys in a swanctl.conf, with their lines. Sections that build on others (`a : b {`) are named by their own name. */
export function keysOf(text: string): { readonly path: readonly string[]; readonly line: number }[] {
  const found: { path: string[]; line: number }[] = [];
  const open: string[] = [];
  text.split('\n').forEach((raw, index) => {
    let rest = raw.replace(/(^|\s)#.*$/, '').trim();
    while (rest !== '') {
      const section = /^([^\s={}]+)\s*(?::\s*[^{}=]+?)?\s*\{/.exec(rest);
      const key = /^([^\s={}]+)\s*=\s*("[^"]*"|[^{}]*)/.exec(rest);
      if (rest.startsWith('}')) {
        open.pop();
        rest = rest.slice(1).trim();
      } else if (section !== null) {
        open.push(section[1]!);
        rest = rest.slice(section[0].length).trim();
      } else if (key !== null) {
        found.push({ path: [...open, key[1]!], line: index + 1 });
        rest = rest.slice(key[0].length).trim();
      } else if (/^include\b/.test(rest)) {
        found.push({ path: ['include'], line: index + 1 });
        rest = '';
      } else throw new Error(`line ${index + 1}: ${raw}`);
    }
  });
  return found;
}
