// The program's flags (definitions with help and defaults: launch/flags_*.cc). Only launch/ sees
// gflags; the rooms take plain option structs (launch/options.h).
#pragma once

#include <gflags/gflags_declare.h>

DECLARE_string(out);
DECLARE_string(run);
DECLARE_int64(seed);
DECLARE_string(device);
DECLARE_string(precision);
DECLARE_int64(threads);
DECLARE_string(log_level);
DECLARE_string(resume);
DECLARE_string(resume_allow);
DECLARE_bool(dry_run);
DECLARE_int64(simulate_preemption);
DECLARE_string(max_walltime);
DECLARE_string(stop_signal);
DECLARE_bool(tensorboard);
DECLARE_int64(keep_last);

DECLARE_string(data);
DECLARE_string(item_fields);
DECLARE_string(title_field);
DECLARE_int64(min_item_interactions);
DECLARE_int64(max_items);
DECLARE_int64(max_item_tokens);
DECLARE_string(tokenizer);
DECLARE_int64(user_count);
DECLARE_int64(item_count);
DECLARE_double(mean_length);

DECLARE_string(backbone);
DECLARE_string(mode);
DECLARE_string(architecture);
DECLARE_int64(replace_every);
DECLARE_int64(bottleneck);
DECLARE_string(adapter_act);
DECLARE_string(parallel_form);
DECLARE_double(parallel_scale);
DECLARE_string(inject);
DECLARE_double(dropout);
DECLARE_string(cf_model);
DECLARE_int64(cf_gmf);
DECLARE_int64(cf_mlp);
DECLARE_string(cf_hidden);
DECLARE_int64(cf_mf);
DECLARE_string(item_init);
DECLARE_double(lambda_align);
DECLARE_double(lambda_cl);
DECLARE_double(lambda_cf);
DECLARE_double(tau);
DECLARE_int64(hidden);
DECLARE_int64(layers);
DECLARE_int64(heads);
DECLARE_int64(ffn);
DECLARE_int64(context);
DECLARE_string(shape);
DECLARE_string(dtype);

DECLARE_int64(epochs);
DECLARE_int64(batch);
DECLARE_double(lr);
DECLARE_double(warmup_fraction);
DECLARE_double(weight_decay);
DECLARE_double(clip_norm);
DECLARE_int64(n_s);
DECLARE_int64(n_cl);

DECLARE_string(ps);
DECLARE_string(ps_key_file);
DECLARE_double(ps_deadline);
DECLARE_string(consistency);
DECLARE_int64(staleness);
DECLARE_int64(sampled_softmax);
DECLARE_string(sampled_proposal);

DECLARE_string(split);
DECLARE_string(checkpoint);
DECLARE_bool(mask_seen);
DECLARE_bool(all);
DECLARE_string(json_out);
DECLARE_string(ranks_out);
DECLARE_string(users);
DECLARE_string(users_file);
DECLARE_string(history);
DECLARE_int64(k);
DECLARE_bool(keep_seen);
DECLARE_int64(trials);
DECLARE_int64(trial_epochs);
DECLARE_double(bo_fraction);
DECLARE_string(method);
DECLARE_string(problem);
DECLARE_int64(instance);
DECLARE_int64(groups);
DECLARE_int64(evaluations);
DECLARE_bool(check);
DECLARE_bool(table);
DECLARE_int64(seeds);
DECLARE_double(seconds);
DECLARE_string(profile);
DECLARE_string(pad_steps);
DECLARE_int64(candidates);
DECLARE_int64(rounds);
