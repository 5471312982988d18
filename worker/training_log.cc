#include "worker/training_log.h"

#include "absl/strings/str_format.h"

namespace mixrec::worker {
namespace {

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::string LossText(const model::Losses& losses) {
  return absl::StrFormat("loss %.4f (seq %.4f align %.4f cl %.4f cf %.4f)", losses.total,
                         losses.sequence, losses.alignment, losses.contrastive, losses.cf);
}

std::vector<std::pair<std::string, double>> LossValues(const std::string& prefix,
                                                       const model::Losses& losses) {
  return {{prefix + "loss", losses.total},
          {prefix + "loss_seq", losses.sequence},
          {prefix + "loss_align", losses.alignment},
          {prefix + "loss_cl", losses.contrastive},
          {prefix + "loss_cf", losses.cf}};
}

}  // namespace

absl::StatusOr<std::unique_ptr<TrainingLog>> TrainingLog::Open(const std::string& run_folder,
                                                               const TrainingLogOptions& options) {
  MetricsOptions metrics_options;
  metrics_options.tensorboard = options.tensorboard;
  MIXREC_ASSIGN_OR_RETURN(MetricsWriter writer, MetricsWriter::Open(run_folder, metrics_options));
  MIXREC_RETURN_IF_ERROR(writer.TruncateAfterStep(options.first_step));
  return std::unique_ptr<TrainingLog>(new TrainingLog(std::move(writer), options));
}

TrainingLog::TrainingLog(MetricsWriter writer, const TrainingLogOptions& options)
    : options_(options),
      writer_(std::move(writer)),
      interval_start_(std::chrono::steady_clock::now()) {
  ProgressOptions progress;
  progress.name = options.label.empty() ? "train" : options.label + " train";
  progress.total = options.total_steps;
  progress.first_step = options.first_step;
  if (!options.progress) progress.write = [](std::string_view) {};
  progress_ = std::make_unique<Progress>(progress);
}

absl::Status TrainingLog::Step(int64_t step, int64_t epoch, double learning_rate,
                               const model::Losses& losses, int64_t tokens, int64_t users) {
  interval_tokens_ += tokens;
  interval_users_ += users;
  const double seconds = SecondsSince(interval_start_);
  const bool record = step % options_.log_steps == 0;
  if (record || tokens_per_second_ == 0) {
    tokens_per_second_ = static_cast<double>(interval_tokens_) / seconds;
  }
  if (progress_->IsDue(step)) {
    progress_->Update(step,
                      absl::StrFormat("epoch %d/%d | %s | %.0f tokens/s%s", epoch, options_.epochs,
                                      LossText(losses), tokens_per_second_, validation_text_));
  }
  if (!record) return absl::OkStatus();
  auto values = LossValues("", losses);
  values.emplace_back("lr", learning_rate);
  values.emplace_back("tokens_per_second", tokens_per_second_);
  values.emplace_back("users_per_second", static_cast<double>(interval_users_) / seconds);
  interval_start_ = std::chrono::steady_clock::now();
  interval_tokens_ = interval_users_ = 0;
  return writer_.Write(step, values, {{"epoch", epoch}});
}

absl::Status TrainingLog::Epoch(const EpochReport& report) {
  const data::RankingSums& sums = report.validation;
  validation_text_ = absl::StrFormat(" | valid MRR %.4f", sums.Mrr());
  auto values = LossValues("epoch_", report.losses);
  for (const int cutoff : data::kCutoffs) {
    values.emplace_back(StrCat("valid_NDCG@", cutoff), sums.Ndcg(cutoff));
    values.emplace_back(StrCat("valid_Recall@", cutoff), sums.Recall(cutoff));
  }
  values.emplace_back("valid_MRR", sums.Mrr());
  interval_start_ = std::chrono::steady_clock::now();  // validation is not training time
  interval_tokens_ = interval_users_ = 0;
  return writer_.Write(report.step, values, {{"epoch", report.epoch}, {"best", report.best}});
}

}  // namespace mixrec::worker
