import { z } from 'zod';

/** What documents of the control API are made of. */
export const document = <T extends z.ZodRawShape>(shape: T) => z.object({ schema: z.literal(1), ...shape });
export const time = z.string();
export const maybeTime = z.string().nullable();
export const number = z.number();
