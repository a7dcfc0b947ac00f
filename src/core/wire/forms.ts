/**
 * The shapes a message may have (RFC 7296 chapter 1 and appendix C): one per exchange and direction, and further ones where an
 * exchange has several. `grammar.ts` tells them apart; each payload says in which of them it may stand.
 */
export const MESSAGE_FORMS = [
  'IKE_SA_INIT request',
  'IKE_SA_INIT response',
  'IKE_SA_INIT refusal',
  'IKE_SESSION_RESUME request',
  'IKE_SESSION_RESUME response',
  'IKE_SESSION_RESUME refusal',
  'IKE_INTERMEDIATE request',
  'IKE_INTERMEDIATE response',
  'IKE_AUTH request',
  'IKE_AUTH request, EAP round',
  'IKE_AUTH request, after EAP',
  'IKE_AUTH response',
  'IKE_AUTH response, EAP round',
  'IKE_AUTH response, after EAP',
  'IKE_AUTH refusal',
  'CREATE_CHILD_SA request, new CHILD_SA',
  'CREATE_CHILD_SA request, rekey CHILD_SA',
  'CREATE_CHILD_SA request, rekey IKE SA',
  'CREATE_CHILD_SA response, CHILD_SA',
  'CREATE_CHILD_SA response, IKE SA',
  'CREATE_CHILD_SA refusal',
  'IKE_FOLLOWUP_KE request',
  'IKE_FOLLOWUP_KE response',
  'IKE_FOLLOWUP_KE refusal',
  'INFORMATIONAL request',
  'INFORMATIONAL response',
] as const;

export type MessageForm = (typeof MESSAGE_FORMS)[number];
