import { fields } from './fields.ts';
import type { AdmissionRequest, Judgement } from './types.ts';

/** A body that is no AdmissionReview of admission.k8s.io/v1. The message says what is wrong with it. */
export class ReviewError extends Error {
  readonly code = 'ADMISSION_REVIEW';
}

const API_VERSION = 'admission.k8s.io/v1';

/** @throws ReviewError */
export function readReview(body: string): AdmissionRequest {
  let review: unknown;
  try {
    review = JSON.parse(body);
  } catch (error) {
    throw new ReviewError('the body is no JSON: an AdmissionReview is expected', { cause: error });
  }
  const { apiVersion, kind, request } = fields(review);
  if (apiVersion !== API_VERSION || kind !== 'AdmissionReview') {
    throw new ReviewError(`the body is no AdmissionReview of ${API_VERSION}`);
  }
  const {
    uid,
    kind: of,
    operation,
    subResource,
    namespace,
    name,
    object,
    oldObject,
    userInfo,
    dryRun,
  } = fields(request);
  const { group, version, kind: ofKind } = fields(of);
  if (typeof uid !== 'string' || uid === '' || typeof operation !== 'string' || typeof ofKind !== 'string') {
    throw new ReviewError('the AdmissionReview has no request with uid, operation and kind');
  }
  return {
    uid,
    kind: { group: text(group), version: text(version), kind: ofKind },
    operation,
    subResource: text(subResource),
    namespace: text(namespace),
    name: text(name),
    user: text(fields(userInfo)['username']),
    dryRun: dryRun === true,
    object,
    oldObject,
  };
}

/** The answer to the request of this UID, as JSON. */
export function writeReview(uid: string, { allowed, message, warnings }: Judgement): string {
  return JSON.stringify({
    apiVersion: API_VERSION,
    kind: 'AdmissionReview',
    response: {
      uid,
      allowed,
      ...(message !== undefined && { status: { code: 422, reason: 'Invalid', message } }),
      ...(warnings.length > 0 && { warnings }),
    },
  });
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
