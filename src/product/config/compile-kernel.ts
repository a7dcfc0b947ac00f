import type { KernelPolicy, PacketMark } from '../../core/ike/packet-policy.ts';
import type { CompileContext } from './compile-context.ts';
import type { ChildSettings, ConnectionSettings } from './schema.ts';
import type { Path } from './source.ts';

/**
 * What of a child is for the kernel's IPsec alone; undefined where there is nothing.
 * @param around the connection, whose interface ids hold for its children
 */
export function compileKernel(
  child: ChildSettings,
  path: Path,
  around: ConnectionSettings,
  context: CompileContext,
): KernelPolicy | undefined {
  const id = (key: 'if_id_in' | 'if_id_out'): number | undefined => {
    const [text, at] = child[key] === undefined ? [around[key], [...path.slice(0, 2), key]] : [child[key], [...path, key]];
    const value = text === undefined ? undefined : number(text, at, context);
    if (value !== undefined && value > 0) context.demand(at, 'kernel', 'XFRM interfaces are of the kernel’s IPsec');
    return value === 0 ? undefined : value;
  };
  const mark = (key: MarkKey): PacketMark | undefined => {
    const text = child[key];
    if (text === undefined) return undefined;
    context.demand([...path, key], 'kernel', 'marks of packets are matched and set by the kernel’s IPsec');
    const [value, mask] = text.split('/') as [string, string?];
    return {
      value: number(value, [...path, key], context),
      ...(mask === undefined ? {} : { mask: number(mask, [...path, key], context) }),
    };
  };
  if (child.mark_in_sa === true && child.mark_in === undefined)
    throw context.error([...path, 'mark_in_sa'], 'there is no mark to put on the SA', 'Add mark_in.');
  const [ifIdIn, ifIdOut] = [id('if_id_in'), id('if_id_out')];
  const [markIn, markOut, setMarkIn, setMarkOut] = [mark('mark_in'), mark('mark_out'), mark('set_mark_in'), mark('set_mark_out')];
  const offload = offloadOf(child, path, context);
  const policy: KernelPolicy = {
    ...(ifIdIn === undefined ? {} : { ifIdIn }),
    ...(ifIdOut === undefined ? {} : { ifIdOut }),
    ...(markIn && { markIn }),
    ...(child.mark_in_sa === true ? { markInSa: true } : {}),
    ...(markOut && { markOut }),
    ...(setMarkIn && { setMarkIn }),
    ...(setMarkOut && { setMarkOut }),
    ...(offload && { offload }),
  };
  return Object.keys(policy).length === 0 ? undefined : policy;
}

function offloadOf({ hw_offload: wish = 'no' }: ChildSettings, path: Path, context: CompileContext): KernelPolicy['offload'] {
  if (wish === 'no') return undefined;
  if (wish === 'auto') return 'auto';
  context.demand([...path, 'hw_offload'], 'kernel', 'a network card encrypts for the kernel’s IPsec alone');
  return wish === 'yes' ? 'crypto' : wish;
}

function number(text: string, path: Path, context: CompileContext): number {
  if (text.startsWith('%'))
    throw context.error(
      path,
      `${text} is not carried out: nothing tells anybody which number it was`,
      'Write a number.',
      'CONFIG_UNSUPPORTED',
    );
  const value = Number(text);
  if (value > 0xffff_ffff) throw context.error(path, `${text} has more than 32 bits`);
  return value;
}

type MarkKey = 'mark_in' | 'mark_out' | 'set_mark_in' | 'set_mark_out';
