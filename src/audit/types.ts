/** A factor of a proof and its outcome. */
export interface AuditFactor {
  readonly factor: string;
  readonly outcome: string;
}

export interface AuditRefusedResource {
  readonly name: string;
  readonly detail: string;
}

/**
 * What an operator must be able to prove later. One event, one line of JSON.
 * No event has a place for a token or a key.
 */
export type AuditEvent =
  | {
      readonly event: 'svid.issued';
      /** `namespace/pod` that proved itself. */
      readonly actor: string;
      readonly id: string;
      readonly serial: string;
      /** SHA-256 of the leaf's DER, hex: what Envoy shows as the peer certificate's digest. */
      readonly digest: string;
      readonly notAfter: string;
      /** Of the pod that it is for: what `countersign quarantine add --pod` takes when the pod is gone. */
      readonly podUid?: string;
      /**
       * `request`: for a certificate request. `serving`: the control plane's own certificate; its actor is
       * `control-plane`.
       */
      readonly reason: 'first' | 'renewal' | 'ordered' | 'rotation' | 'request' | 'serving';
      readonly factors: readonly AuditFactor[];
      /** Of a request, which has no stream whose admission could have told these. */
      readonly peer?: string;
      readonly tokenId?: string;
    }
  | {
      readonly event: 'svid.refused';
      readonly actor: string;
      readonly id: string;
      /** `renewal`, or the field of a certificate request that was refused. */
      readonly factor: string;
      readonly detail: string;
      /** Requests of this actor refused since its last such event that have none of their own: they were too many. */
      readonly leftOut: number;
    }
  | {
      readonly event: 'workload.admitted';
      readonly actor: string;
      readonly id: string;
      readonly peer: string;
      readonly tokenId: string;
      readonly factors: readonly AuditFactor[];
    }
  | {
      readonly event: 'workload.refused';
      /** `namespace/pod` as a validly signed token claims it; `unknown` where nothing was proven. */
      readonly actor: string;
      readonly peer: string;
      readonly factor: string;
      readonly detail: string;
      /** Refusals of this peer since its last such event that have none of their own: they were too many. */
      readonly leftOut: number;
    }
  | {
      readonly event: 'resource.refused';
      readonly actor: string;
      readonly type: string;
      /** What one response refused: the first names of it. Long names are cut. */
      readonly resources: readonly AuditRefusedResource[];
      /** Names refused to this actor since its last such event that are not listed: they were too many. */
      readonly leftOut: number;
    }
  | {
      readonly event: 'policy.changed';
      readonly actor: string;
      /** `AuthorizationPolicy`, `RequestAuthentication`, `PeerAuthentication`. */
      readonly kind: string;
      readonly policy: string;
      readonly change: 'added' | 'updated' | 'removed';
      readonly digest: string;
      readonly generation: number;
      /** How many workloads it selects now. */
      readonly workloads: number;
    }
  | {
      readonly event: 'policy.rejected';
      readonly actor: string;
      readonly where: string;
      readonly detail: string;
    }
  | {
      /** The webhook refused a policy; nothing of it was stored. */
      readonly event: 'policy.refused';
      /** Who sent it, as the API server says. */
      readonly actor: string;
      readonly where: string;
      readonly detail: string;
      /** Refusals to this actor since its last such event that have none of their own: they were too many. */
      readonly leftOut: number;
    }
  | {
      /** The settings of the mesh that a running control plane takes over. */
      readonly event: 'settings.changed';
      readonly actor: string;
      /** Those that are others than before. */
      readonly settings: readonly string[];
      readonly after: {
        readonly defaultAction: string;
        readonly trustDomainAliases: readonly string[];
        /** `name=host:port`, and `failOpen` where it is. */
        readonly authorizers: readonly string[];
        /** `trust domain=URL profile`. */
        readonly federation: readonly string[];
      };
    }
  | {
      /** The bundle of a federated trust domain is another one. */
      readonly event: 'federation.changed';
      readonly actor: string;
      readonly trustDomain: string;
      readonly change: 'added' | 'updated' | 'removed';
      readonly sequence: number;
      /** SHA-256 of each root. */
      readonly roots: readonly string[];
    }
  | {
      /** There is no newer bundle of a federated trust domain. One event for failures of one kind in a row. */
      readonly event: 'federation.failed';
      readonly actor: string;
      readonly trustDomain: string;
      readonly detail: string;
      /** When the bundle in force was fetched; `never`. */
      readonly lastGood: string;
    }
  | {
      /** An issuer of request tokens has other keys, or its first ones. */
      readonly event: 'jwks.changed';
      readonly actor: string;
      readonly uri: string;
      /** How many. */
      readonly keys: number;
    }
  | {
      readonly event: 'jwks.failed';
      readonly actor: string;
      readonly uri: string;
      readonly detail: string;
      /** When the keys in force were fetched; `never`: there are none, and the issuer's tokens are refused. */
      readonly lastGood: string;
    }
  | {
      readonly event: 'push.rejected';
      readonly actor: string;
      readonly type: string;
      readonly resources: readonly string[];
      /** What Envoy said; cut where it is long. */
      readonly detail: string;
      readonly generation: number;
      /** Rejections by this actor since its last such event that have none of their own: they were too many. */
      readonly leftOut: number;
    }
  | {
      /** A step of the root's rotation. */
      readonly event: 'root.rotated';
      /** `operator`, or `age` or `ca` where the control plane took it by itself. */
      readonly actor: string;
      readonly step: 'prepare' | 'activate' | 'retire' | 'abort';
      readonly signing: string;
      /** SHA-256 of the other root; empty: no rotation is under way any more. */
      readonly other: string;
      /** Who had not followed when the step was forced. */
      readonly forcedPast: readonly string[];
    }
  | {
      /** The root had ended, or was known to somebody else, and another one took its place at once. */
      readonly event: 'root.recovered';
      readonly actor: string;
      /** SHA-256 of the root that signs from here on, and of the one before. */
      readonly signing: string;
      readonly former: string;
      /** `next`: a rotation had prepared it. */
      readonly root: 'next' | 'new';
    }
  | {
      /** An operator's CA was taken over, or refused. */
      readonly event: 'ca.plugged' | 'ca.refused';
      /** Where it comes from. */
      readonly actor: string;
      /** SHA-256 of what signs and of its root; empty: it was refused. */
      readonly ca: string;
      readonly root: string;
      /** Why it was refused, or what it waits for. */
      readonly detail: string;
    }
  | {
      /** A step of the rotation that another replica took. */
      readonly event: 'root.followed';
      /** What told of it. */
      readonly actor: string;
      readonly step: 'steady' | 'prepared' | 'activated';
      readonly signing: string;
      /** SHA-256 of the other root; empty: no rotation is under way any more. */
      readonly other: string;
    }
  | {
      /** The root is gone or damaged: nothing is signed until it is restored. */
      readonly event: 'signing.suspended';
      /** Where it was. */
      readonly actor: string;
      readonly detail: string;
    }
  | {
      readonly event: 'signing.resumed';
      readonly actor: string;
    }
  | {
      /** This replica began to lead, or leads no longer. */
      readonly event: 'leader.changed';
      /** Of the replica. */
      readonly actor: string;
      readonly role: 'leader' | 'follower';
      readonly detail: string;
    }
  | {
      readonly event: 'quarantine.changed';
      /** Who decided, as they said; `expiry`; or the object by which another replica told of it. */
      readonly actor: string;
      readonly change: 'added' | 'removed' | 'expired';
      readonly entry: string;
      readonly subject: string;
      readonly reason: string;
      /** RFC 3339, or `never`. */
      readonly expires: string;
    }
  | {
      readonly event: 'token.issued';
      readonly actor: string;
      readonly audience: string;
      readonly notAfter: string;
    };
